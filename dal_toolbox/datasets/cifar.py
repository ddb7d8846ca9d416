"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import array_bundle, check_drawing
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._unpack import BadArchive, check_unpacked, one_line
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, DatasetNotFound, ImageArray
from dal_toolbox.datasets.plain_pickle import PickledArray, read_pickle

CIFAR10 = Archive(
    dataset="CIFAR10",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
)
CIFAR100 = Archive(
    dataset="CIFAR100",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
)
NUM_CLASSES = {"fine": 100, "coarse": 20}
ROW = 3 * 32 * 32  # bytes of an image


@DATASETS.register("CIFAR10")
def cifar10(
    dataset_path: Path, *, val_size: float = 0.0, split_seed: int = 0, download: bool = True
) -> DatasetBundle:
    """50,000 training and 10,000 test images of 32×32 pixels in 10 classes.

    Args:
        dataset_path: Holds ``cifar-10-python.tar.gz`` or the folder ``cifar-10-batches-py``.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        download: Downloads the official archive where it is missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
    """
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    folder = fetch(CIFAR10, dataset_path, download=download)
    classes = _classes(folder / "batches.meta", "label_names", 10)
    batches = [f"data_batch_{part}" for part in range(1, 6)]
    train = _read(folder, batches, "labels", "train", len(classes))
    test = _read(folder, ["test_batch"], "labels", "test", len(classes))
    statistics = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return array_bundle("CIFAR10", train, test, classes, statistics, val_size, split_seed)


@DATASETS.register("CIFAR100")
def cifar100(
    dataset_path: Path,
    *,
    labels: Literal["fine", "coarse"] = "fine",
    val_size: float = 0.0,
    split_seed: int = 0,
    download: bool = True,
) -> DatasetBundle:
    """50,000 training and 10,000 test images of 32×32 pixels in 100 classes of 20 kinds.

    Args:
        dataset_path: Holds ``cifar-100-python.tar.gz`` or the folder ``cifar-100-python``.
        labels: The 100 classes, or the 20 kinds.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        download: Downloads the official archive where it is missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
    """
    one_of(NUM_CLASSES, labels=labels)
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    folder = fetch(CIFAR100, dataset_path, download=download)
    classes = _classes(folder / "meta", f"{labels}_label_names", NUM_CLASSES[labels])
    train = _read(folder, ["train"], f"{labels}_labels", "train", len(classes))
    test = _read(folder, ["test"], f"{labels}_labels", "test", len(classes))
    statistics = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    return array_bundle("CIFAR100", train, test, classes, statistics, val_size, split_seed)


def _read(folder: Path, files: Sequence[str], key: str, split: str, classes: int) -> ImageArray:
    """Reads batch files: rows of 1024 red, 1024 green and 1024 blue pixels, and their labels."""
    parts = [_read_batch(folder / file, key.encode(), classes) for file in files]
    images = torch.from_numpy(np.concatenate([pixels for pixels, _ in parts])).view(-1, 3, 32, 32)
    targets = np.concatenate([labels for _, labels in parts])
    return ImageArray(images, targets, [f"{split}/{row:05d}" for row in range(len(images))])


def _read_batch(file: Path, key: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    content = _load(file)
    try:
        pixels, labels = _to_pixels(content[b"data"]), content[key]
        if not isinstance(labels, list) or len(labels) != len(pixels):
            raise ValueError(f"wanted a list of {len(pixels)} labels")
        if not all(type(label) is int and 0 <= label < classes for label in labels):
            raise ValueError(f"wanted labels from 0 to {classes - 1}")
        return pixels, np.array(labels, dtype=np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise _unexpected(file, error) from error


def _classes(file: Path, key: str, number: int) -> tuple[str, ...]:
    content = _load(file)
    try:
        classes = tuple(name.decode() for name in content[key.encode()])
        if len(set(classes)) != number:
            raise ValueError(f"wanted the names of {number} classes")
        return classes
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unexpected(file, error) from error


def _load(file: Path) -> Any:
    if not file.is_file():
        raise DatasetNotFound(
            f"{file} is missing; delete the folder {file.parent} and start again, "
            "so that it is unpacked anew"
        )
    check_unpacked(file)
    try:
        return read_pickle(file)
    except ValueError as error:
        raise _unexpected(file, error) from error


def _unexpected(file: Path, error: Exception) -> BadArchive:
    if isinstance(error, BadArchive):  # it says all of this already
        return error
    return BadArchive(
        f"{file} is no official batch file ({type(error).__name__}: {one_line(error)}); "
        f"delete the folder {file.parent} and start again"
    )


def _to_pixels(array: Any) -> np.ndarray:
    """The pixels of an array. Shape: (n, 3072), uint8."""
    state = array.state if isinstance(array, PickledArray) else (None,) * 5
    _, shape, dtype, is_fortran, content = state
    if dtype != b"u1" or not isinstance(content, bytes) or not isinstance(shape, tuple):
        raise ValueError("data is no array of bytes")
    if shape != (len(content) // ROW, ROW) or len(content) % ROW or not content:
        raise ValueError(f"data is not of shape (n, {ROW}), or not complete")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")
