"""The MATLAB files of SVHN."""

import numpy as np
import pytest
from scipy.io import savemat

from dal_toolbox.datasets import DATASETS, DatasetNotFound
from dal_toolbox.datasets._unpack import BadArchive


def write(file, n, seed=0, **content):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
    labels = rng.integers(1, 11, (n, 1)).astype(np.uint8)
    labels[0] = 10
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {"X": pixels, "y": labels} | content, do_compression=True)
    return pixels, labels


def check(images, pixels, labels):
    for row in range(len(labels)):
        expected = pixels[:, :, :, row].transpose(2, 0, 1)  # height, width, channel, image
        assert (images.images[row].numpy() == expected).all()
        assert images.targets[row] == labels[row, 0] % 10


@pytest.mark.parametrize("folder", ["", "SVHN"])
def test_files_are_read(tmp_path, check_bundle, folder):
    train = write(tmp_path / folder / "train_32x32.mat", 12)
    test = write(tmp_path / folder / "test_32x32.mat", 5, seed=1)
    bundle = DATASETS.build("SVHN", dataset_path=tmp_path)
    check_bundle(bundle)
    check(bundle.train, *train)
    check(bundle.test, *test)
    assert bundle.train.targets[0] == 0
    assert bundle.classes == tuple("0123456789")


def test_extra_images_follow_the_training_images(tmp_path, check_bundle):
    train = write(tmp_path / "train_32x32.mat", 12)
    write(tmp_path / "test_32x32.mat", 5, seed=1)
    with pytest.raises(DatasetNotFound, match="put extra_32x32.mat"):
        DATASETS.build("SVHN", dataset_path=tmp_path, extra=True, download=False)
    extra = write(tmp_path / "extra_32x32.mat", 8, seed=2)
    bundle = DATASETS.build("SVHN", dataset_path=tmp_path, extra=True)
    check_bundle(bundle)
    check(bundle.train.subset(np.arange(12)), *train)
    check(bundle.train.subset(np.arange(12, 20)), *extra)
    assert bundle.train.names[11:13] == ["train/000011", "extra/000000"]


@pytest.mark.parametrize(
    "content",
    [
        {"y": np.ones((11, 1))},
        {"y": np.full((12, 1), 11)},
        {"y": np.zeros((12, 1))},
        {"X": np.zeros((32, 32, 3, 12))},
        {"X": np.zeros((12, 3, 32, 32), dtype=np.uint8)},
    ],
)
def test_other_content_is_refused(tmp_path, content):
    write(tmp_path / "train_32x32.mat", 12, **content)
    write(tmp_path / "test_32x32.mat", 5)
    with pytest.raises(BadArchive, match="train_32x32.mat is not the official file") as caught:
        DATASETS.build("SVHN", dataset_path=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "text", "key"])
def test_damaged_files_are_named(tmp_path, damage):
    write(tmp_path / "train_32x32.mat", 12)
    file = tmp_path / "test_32x32.mat"
    write(file, 5)
    if damage == "key":
        savemat(file, {"X": np.zeros(3)})
    else:
        file.write_bytes(file.read_bytes()[:1000] if damage == "cut" else b"text" * 100)
    with pytest.raises(BadArchive, match="test_32x32.mat is not the official file") as caught:
        DATASETS.build("SVHN", dataset_path=tmp_path)
    assert "\n" not in str(caught.value)
