"""The binary files of STL-10: column by column."""

import logging
import os
import tracemalloc

import numpy as np
import pytest

from dal_toolbox import io
from dal_toolbox.datasets import DATASETS, DatasetNotFound, ImageArray, _columns
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.mapped import DamagedImages

CLASSES = "airplane bird car cat deer dog horse monkey ship truck"


def write(folder, sizes):
    """Writes images (n, 3, 96, 96) as MATLAB does: channel, then column, then row."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    arrays = {}
    for split, n in sizes.items():
        images = rng.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8)
        images.transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")
        labels = np.arange(n, dtype=np.uint8) % 10 + 1
        if split != "unlabeled":
            labels.tofile(folder / f"{split}_y.bin")
        arrays[split] = images, labels
    (folder / "class_names.txt").write_text(CLASSES.replace(" ", "\n") + "\n")
    folds = [" ".join(map(str, range(fold, 20, 4))) + " \n" for fold in range(4)]
    (folder / "fold_indices.txt").write_text("".join(folds))
    return arrays


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(_columns, "CHUNK", 4)  # several chunks, the last one not full
    return write(tmp_path / "stl10_binary", {"train": 20, "test": 10, "unlabeled": 11})


def test_folder_is_read(tmp_path, check_bundle, arrays):
    bundle = DATASETS.build("STL10", dataset_path=tmp_path)
    check_bundle(bundle)
    for split, (images, labels) in arrays.items():
        part = getattr(bundle, split)
        assert (part.images.numpy() == images).all()
        expected = np.full(len(images), -1) if split == "unlabeled" else labels.astype(int) - 1
        assert part.targets.tolist() == expected.tolist()
    assert bundle.classes == tuple(CLASSES.split())


def test_unlabeled_images_are_rewritten_once(tmp_path, arrays):
    first = DATASETS.build("STL10", dataset_path=tmp_path)
    files = list((tmp_path / "packed").glob("unlabeled_X-*/images.npy"))
    stamp = files[0].stat().st_mtime_ns
    second = DATASETS.build("STL10", dataset_path=tmp_path)
    assert files[0].stat().st_mtime_ns == stamp
    assert (np.load(files[0]) == arrays["unlabeled"][0]).all()
    in_memory = ImageArray(first.unlabeled.images, first.unlabeled.targets, first.unlabeled.names)
    assert first.unlabeled.fingerprint == second.unlabeled.fingerprint == in_memory.fingerprint
    file = tmp_path / "stl10_binary/unlabeled_X.bin"
    file.write_bytes(bytes(3 * 96 * 96))
    assert len(DATASETS.build("STL10", dataset_path=tmp_path).unlabeled) == 1


def test_unlabeled_images_where_nothing_can_be_written(tmp_path, arrays, caplog):
    (tmp_path / "packed").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        bundle = DATASETS.build("STL10", dataset_path=tmp_path)
    assert "read into memory" in caplog.text
    assert (bundle.unlabeled.images.numpy() == arrays["unlabeled"][0]).all()


def test_without_unlabeled_images(tmp_path, arrays, caplog):
    (tmp_path / "stl10_binary/unlabeled_X.bin").unlink()
    assert DATASETS.build("STL10", dataset_path=tmp_path).unlabeled is None
    assert "there are no unlabeled images" in caplog.text


def test_folds(tmp_path, arrays, check_bundle):
    bundle = DATASETS.build("STL10", dataset_path=tmp_path, fold=1)
    check_bundle(bundle)
    assert bundle.train.names == [f"train/{row:06d}" for row in range(1, 20, 4)]
    with pytest.raises(ValueError, match="^fold=10: must be a number from 0 to 9"):
        DATASETS.build("STL10", dataset_path=tmp_path, fold=10)
    with pytest.raises(BadArchive, match="fold_indices.txt"):
        DATASETS.build("STL10", dataset_path=tmp_path, fold=9)


@pytest.mark.parametrize("file", ["train_X.bin", "test_X.bin", "unlabeled_X.bin", "train_y.bin"])
@pytest.mark.parametrize("cut", [1, None])
def test_truncated_files_are_named(tmp_path, arrays, file, cut):
    path = tmp_path / "stl10_binary" / file
    path.write_bytes(path.read_bytes()[:-cut] if cut else b"")
    with pytest.raises(BadArchive, match=file) as caught:
        DATASETS.build("STL10", dataset_path=tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_labels_are_named(tmp_path, arrays):
    np.zeros(20, dtype=np.uint8).tofile(tmp_path / "stl10_binary/train_y.bin")
    with pytest.raises(BadArchive, match="train_y.bin .*wanted 20 labels from 1 to 10"):
        DATASETS.build("STL10", dataset_path=tmp_path)


@pytest.mark.parametrize("file", ["train_X.bin", "test_y.bin", "class_names.txt"])
def test_missing_files_are_named(tmp_path, arrays, file):
    (tmp_path / "stl10_binary" / file).unlink()
    with pytest.raises(DatasetNotFound, match=f"{file} is missing"):
        DATASETS.build("STL10", dataset_path=tmp_path)


def test_little_more_is_held_than_the_images(tmp_path):
    num_bytes, chunk = 3000 * 3 * 96 * 96, 1024 * 3 * 96 * 96
    file = tmp_path / "unlabeled_X.bin"
    with file.open("wb") as stream:
        stream.truncate(num_bytes)  # zeros, which take no room on disk
    tracemalloc.start()
    _columns.read_images(file, (3, 96, 96))
    assert tracemalloc.get_traced_memory()[1] < 1.01 * num_bytes
    tracemalloc.reset_peak()
    _columns.map_images(file, (3, 96, 96), tmp_path / "packed", "unlabeled")
    checksums = 2 * io.THREADS * io.BLOCK_BYTES  # a thread reads a block while it drops another
    assert tracemalloc.get_traced_memory()[1] < 1.02 * chunk + checksums
    tracemalloc.stop()


@pytest.mark.parametrize("file", ["images.npy", "manifest.json"])
@pytest.mark.parametrize("damage", ["flipped", "zeros", "cut", "empty", "missing"])
def test_damaged_caches_are_made_anew(tmp_path, arrays, file, damage, caplog):
    first = DATASETS.build("STL10", dataset_path=tmp_path).unlabeled
    (path,) = (tmp_path / "packed").glob(f"unlabeled_X-*/{file}")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "zeros":
        content[10:20] = bytes(10)
    path.write_bytes(content[:-3] if damage == "cut" else b"" if damage == "empty" else content)
    if damage == "missing":
        path.unlink()
    again = DATASETS.build("STL10", dataset_path=tmp_path).unlabeled
    assert "is made anew" in caplog.text
    assert (again.images.numpy() == arrays["unlabeled"][0]).all()
    assert again.fingerprint == first.fingerprint
    assert len(list((tmp_path / "packed").glob("*unlabeled_X-*"))) == 1 + 1  # and its lock


def test_a_large_cache_is_checked_where_it_is_read(tmp_path, arrays, monkeypatch):
    monkeypatch.setattr("dal_toolbox.datasets.mapped.CHECKED_AT_ONCE", 0)
    DATASETS.build("STL10", dataset_path=tmp_path)
    (path,) = (tmp_path / "packed").glob("unlabeled_X-*/images.npy")
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([255 - arrays["unlabeled"][0].flat[-1]]))
    images = DATASETS.build("STL10", dataset_path=tmp_path).unlabeled
    with pytest.raises(DamagedImages, match="start again, and it is made anew"):
        images.batch(np.arange(11))
    images = DATASETS.build("STL10", dataset_path=tmp_path).unlabeled
    assert (images.images.numpy() == arrays["unlabeled"][0]).all()


def test_a_replaced_file_with_the_same_time_is_noticed(tmp_path, arrays):
    DATASETS.build("STL10", dataset_path=tmp_path)
    file = tmp_path / "stl10_binary/unlabeled_X.bin"
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not DATASETS.build("STL10", dataset_path=tmp_path).unlabeled.images.any()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("class_names.txt", b"airplane bird"),
        ("class_names.txt", CLASSES.replace("ship", "bird").encode()),
        ("class_names.txt", b"\xff\xfe"),
        ("fold_indices.txt", b"1 2 1\n"),
        ("fold_indices.txt", b"99999999999999999999\n"),
        ("fold_indices.txt", b"\xff\xfe\n"),
        ("train_y.bin", bytes(5001)),
    ],
)
def test_hostile_files_are_named(tmp_path, arrays, file, content):
    (tmp_path / "stl10_binary" / file).write_bytes(content)
    with pytest.raises(BadArchive, match=f"{file} is no official STL-10 file") as caught:
        DATASETS.build("STL10", dataset_path=tmp_path, fold=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("split", ["train", "test", "unlabeled"])
def test_files_larger_than_official_ones_are_not_read(tmp_path, arrays, split):
    with (tmp_path / f"stl10_binary/{split}_X.bin").open("wb") as file:
        file.truncate(10**13)  # takes no room on disk
    with pytest.raises(BadArchive, match=f"{split}_X.bin is no official STL-10 file .it is larger"):
        DATASETS.build("STL10", dataset_path=tmp_path)
