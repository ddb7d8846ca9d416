"""Small image folders, and what every dataset must fulfill."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def write_image(path: Path, seed: int, size: tuple[int, int] = (12, 12)) -> None:
    """A random RGB image of ``size`` (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(name="write_image")
def _write_image():
    return write_image


@pytest.fixture
def class_folders(tmp_path):
    """``images/{cat,dog}``, 10 and 5 images."""
    root = tmp_path / "images"
    for seed in range(15):
        write_image(root / ("cat" if seed < 10 else "dog") / f"{seed:02d}.png", seed)
    return root


@pytest.fixture
def check_bundle():
    return _check_bundle


def _check_bundle(bundle):
    parts = {"train": bundle.train, "val": bundle.val, "test": bundle.test}
    parts = {split: images for split, images in parts.items() if images is not None}
    everything = [*parts.values(), *([bundle.unlabeled] if bundle.unlabeled is not None else [])]
    names = [name for images in everything for name in images.names]
    assert len(set(names)) == len(names), "splits share images"
    for images in parts.values():
        assert len(images) > 0
        assert images.targets.dtype == np.int64
        assert images.targets.min() >= -1
        assert images.targets.max() < max(bundle.num_classes, 1)
    for images in everything:
        shape = (bundle.in_channels, bundle.image_size, bundle.image_size)
        batch = images.batch(np.array([len(images) - 1, 0]))
        assert images.shape == shape
        assert batch.shape == (2, *shape)
        assert batch.dtype == torch.uint8
        assert batch.is_contiguous()
        assert torch.equal(batch[1], images.subset(np.array([0])).batch(np.array([0]))[0])
    prints = {images.fingerprint for images in everything}
    assert len(prints) == len(everything)
    assert len(bundle.mean) == len(bundle.std) == bundle.in_channels
    assert all(0 <= mean <= 1 for mean in bundle.mean)
    assert all(0 < std <= 1 for std in bundle.std)
    assert len(set(bundle.classes)) == bundle.num_classes
