import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dal_toolbox.datasets.base import ImageArray
from dal_toolbox.datasets.folder import folder
from dal_toolbox.features import FeatureStore, dataset_features, encoder_digest


@pytest.fixture
def bundle(images):
    """A folder without labels: nothing is split off."""
    return SimpleNamespace(
        name="photos", train=images, val=None, test=None, unlabeled=None, classes=()
    )


def test_without_a_test_split(bundle, tmp_path):
    data = dataset_features("raw", lambda: bundle, store=FeatureStore(tmp_path))
    assert (data.test, len(data.train)) == (None, 23)
    assert set(data.facts) == {"training data"}


@pytest.mark.parametrize("source", ["encoder", "untrained"])
def test_facts_name_data_and_encoder(bundle, encoder, images, tmp_path, source):
    facts = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    make = {"make_bundle": lambda: bundle, "make_encoder": lambda bundle: (encoder, facts)}
    torch.manual_seed(1)
    data = dataset_features(source, **make, store=FeatureStore(tmp_path), device="cpu")
    assert data.facts["training data"].startswith("photos, 23 images (")
    expected = f"small ({encoder_digest(encoder)[:16]})"
    assert (data.facts["encoder"] == expected) == (source == "encoder")
    changed = images.images.clone()
    changed[0, 0, 0, 0] ^= 1
    bundle.train = ImageArray(changed, images.targets, images.names)
    other = dataset_features(source, **make, store=FeatureStore(tmp_path), device="cpu")
    assert other.facts["training data"] != data.facts["training data"]


def test_an_encoder_is_needed(bundle, tmp_path):
    with pytest.raises(ValueError, match="source=encoder: needs make_encoder"):
        dataset_features("encoder", lambda: bundle, store=FeatureStore(tmp_path))


@pytest.mark.parametrize("pack", ["never", "always"])
def test_facts_of_a_split_ignore_what_is_added_elsewhere(tmp_path, pack):
    def facts():
        bundle = folder(tmp_path / "data", 0, root=str(photos), image_size=8, pack=pack)
        store = FeatureStore(tmp_path / "features")
        return dataset_features("raw", lambda: bundle, store=store).facts

    photos = tmp_path / "photos"
    write(photos / "train" / "dog" / "0.png", 1)
    write(photos / "test" / "dog" / "0.png", 2)
    before = facts()
    write(photos / "train" / "cat" / "0.png", 3)  # other rows, and other numbers of classes
    os.utime(photos / "test" / "dog" / "0.png")  # as after a copy
    after = facts()
    assert after["test data"] == before["test data"]
    assert after["training data"] != before["training data"]
    write(photos / "test" / "dog" / "0.png", 4)
    assert facts()["test data"] != before["test data"]


def write(file, value):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, dtype=np.uint8)).save(file)
