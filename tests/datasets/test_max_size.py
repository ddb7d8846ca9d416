"""Images stored larger than what networks get."""

import numpy as np
import pytest
import torch

from dal_toolbox.augment import BatchAugment, EvalTransform
from dal_toolbox.datasets import DatasetBundle, ImageArray, ImageFiles, ImageLoader
from dal_toolbox.datasets._decode import decode
from dal_toolbox.datasets.folder import folder
from dal_toolbox.datasets.opening import BadSize
from dal_toolbox.encoders import create_encoder
from dal_toolbox.features import FeatureStore, encoder_features, extract_features


@pytest.fixture
def build(class_folders, write_image, tmp_path):
    for seed, path in enumerate(sorted(class_folders.rglob("*.png"))):
        write_image(path, seed, size=(40, 30))

    def build(**kwargs):
        return folder(tmp_path / "data", 0, root=str(class_folders), **kwargs)

    return build


@pytest.mark.parametrize(("pack", "kind"), [("auto", ImageArray), ("never", ImageFiles)])
def test_images_are_stored_at_max_size(build, class_folders, pack, kind):
    bundle = build(image_size=16, max_size=24, pack=pack)
    assert bundle.image_size == 16
    assert isinstance(bundle.train, kind)
    for part in (bundle.train, bundle.test):
        assert part.shape == (3, 24, 24)
        expected = decode(class_folders / part.names[0], 24)
        assert (part.batch(np.array([0]))[0].numpy() == expected).all()


def test_zero_stores_the_image_size(build):
    assert build(image_size=16).train.shape == (3, 16, 16)
    assert build(image_size=16, max_size=16).train.shape == (3, 16, 16)
    assert build(max_size=32).image_size == 30  # the shorter side of all files


def test_max_size_is_no_less_than_what_networks_get(build):
    with pytest.raises(BadSize, match=r"max_size=15.* below .*image_size=16"):
        build(image_size=16, max_size=15)


@pytest.mark.parametrize("pack", ["auto", "never"])
def test_views_and_features_have_the_image_size(build, pack, tmp_path):
    bundle = build(image_size=16, max_size=24, pack=pack)
    statistics = {"mean": bundle.mean, "std": bundle.std}
    batch, _, _ = next(iter(ImageLoader(bundle.train, 4)))
    assert batch.shape == (4, 3, 24, 24)
    assert BatchAugment(bundle.image_size, **statistics)(batch).shape == (8, 3, 16, 16)
    encoder = create_encoder("small", image_size=bundle.image_size, in_channels=3).eval()
    clean = EvalTransform(bundle.image_size, **statistics)(batch)
    with torch.no_grad():
        expected = encoder(clean)
    options = {**statistics, "device": "cpu", "precision": "32"}
    values = extract_features(encoder, bundle.train, **options)  # the encoder knows its size
    torch.testing.assert_close(values[:4], expected, atol=1e-5, rtol=1e-4)
    store = FeatureStore(tmp_path / "features")
    stored = encoder_features(store, encoder, bundle.train, "train", image_size=16, **options)
    torch.testing.assert_close(stored.values, values)


def test_a_bundle_refuses_what_is_smaller_or_no_square():
    for height, width in ((8, 8), (20, 16)):
        images = ImageArray(np.zeros((2, 3, height, width), np.uint8), [0, 1], ["a", "b"])
        with pytest.raises(ValueError, match="in a dataset of shape"):
            DatasetBundle(
                "wrong", images, None, images, None, ("a", "b"), 16, (0.5,) * 3, (0.5,) * 3
            )
