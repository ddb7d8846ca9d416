from types import SimpleNamespace

import pytest
import torch

from dal_toolbox.datasets.base import ImageArray
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
    assert data.facts["training data"] == f"photos, 23 images ({images.fingerprint[:16]})"
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
