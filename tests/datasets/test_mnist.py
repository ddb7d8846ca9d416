"""The idx format, as the authors wrote it."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from dal_toolbox.datasets import DATASETS, DatasetNotFound
from dal_toolbox.datasets._idx import read_idx
from dal_toolbox.datasets._unpack import BadArchive


def idx(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(idx(array)) if file.suffix == ".gz" else idx(array))


def make(folder, suffix):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in [("train", 20), ("t10k", 7)]:
        images, labels = rng.integers(0, 256, (n, 28, 28)), rng.integers(0, 10, n)
        write(folder / f"{split}-images-idx3-ubyte{suffix}", images)
        write(folder / f"{split}-labels-idx1-ubyte{suffix}", labels)
        arrays[split] = images, labels
    return arrays


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
@pytest.mark.parametrize(("folder", "suffix"), [("raw", ".gz"), ("", ".gz"), ("raw", "")])
def test_files_are_read(tmp_path, check_bundle, name, folder, suffix):
    arrays = make(tmp_path / name / folder, suffix)
    bundle = DATASETS.build(name, dataset_path=tmp_path)
    check_bundle(bundle)
    for images, (pixels, labels) in zip([bundle.train, bundle.test], arrays.values(), strict=True):
        assert (images.images.numpy()[:, 0] == pixels).all()
        assert images.targets.tolist() == labels.tolist()
    assert bundle.num_classes == 10
    assert bundle.classes[9] == {"MNIST": "9", "FashionMNIST": "Ankle boot"}[name]


def test_validation_is_taken_from_training(tmp_path, check_bundle):
    make(tmp_path / "MNIST", "")
    bundle = DATASETS.build("MNIST", dataset_path=tmp_path, val_size=0.25)
    check_bundle(bundle)
    assert [len(bundle.train), len(bundle.val), len(bundle.test)] == [15, 5, 7]


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DatasetNotFound, match="MNIST is not in .*train-images-idx3-ubyte.gz"):
        DATASETS.build("MNIST", dataset_path=tmp_path, download=False)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_read_idx(tmp_path, suffix):
    array = np.arange(24).reshape(2, 3, 4)
    write(tmp_path / f"x{suffix}", array)
    assert (read_idx(tmp_path / f"x{suffix}", 3) == array).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        idx(np.zeros((2, 3)))[:-1],
        idx(np.zeros((2, 3))) + b"\0",
        idx(np.zeros(3)),
        b"\0\0\x0d\x02" + idx(np.zeros((2, 3)))[4:],
        idx(np.zeros((2, 3)))[:8],
        b"\0\0\x08\x02" + struct.pack(">ii", -2, -3) + bytes(6),
    ],
)
def test_wrong_files_are_named(tmp_path, content):
    for name, raw in [("x", content), ("x.gz", gzip.compress(content)), ("y.gz", b"no gzip")]:
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(BadArchive, match=f"{name} is no official idx file"):
            read_idx(tmp_path / name, 2)


def test_truncated_gzip_is_named(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(np.arange(200)))[:-12])
    with pytest.raises(BadArchive, match="x.gz is no official idx file"):
        read_idx(tmp_path / "x.gz", 1)


@pytest.mark.parametrize("shape", [(50_000, 1000), (10, 10), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_not_unpacked(tmp_path, shape):
    head = struct.pack(">BBBBii", 0, 0, 8, 2, *shape)
    (tmp_path / "x.gz").write_bytes(gzip.compress(head + bytes(100_000_000)))
    tracemalloc.start()
    with pytest.raises(BadArchive, match="x.gz is no official idx file") as caught:
        read_idx(tmp_path / "x.gz", 2)
    assert tracemalloc.get_traced_memory()[1] < 70_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["count", "size", "label"])
def test_files_that_do_not_fit(tmp_path, damage):
    make(tmp_path / "MNIST", "")
    if damage == "size":
        write(tmp_path / "MNIST/train-images-idx3-ubyte", np.zeros((20, 28, 27)))
    else:
        labels = np.zeros(19) if damage == "count" else np.full(20, 10)
        write(tmp_path / "MNIST/train-labels-idx1-ubyte", labels)
    with pytest.raises(BadArchive, match="wanted .* labels from 0 to 9"):
        DATASETS.build("MNIST", dataset_path=tmp_path)
