"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html)."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dal_toolbox.datasets._bundles import array_bundle
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, DatasetNotFound, ImageArray

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
    folder = fetch(CIFAR10, dataset_path, download=download)
    train = _read(folder, [f"data_batch_{part}" for part in range(1, 6)], "labels", "train")
    test = _read(folder, ["test_batch"], "labels", "test")
    classes = _classes(folder / "batches.meta", "label_names")
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
    folder = fetch(CIFAR100, dataset_path, download=download)
    train = _read(folder, ["train"], f"{labels}_labels", "train")
    test = _read(folder, ["test"], f"{labels}_labels", "test")
    classes = _classes(folder / "meta", f"{labels}_label_names")
    statistics = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    return array_bundle("CIFAR100", train, test, classes, statistics, val_size, split_seed)


def _read(folder: Path, files: Sequence[str], key: str, split: str) -> ImageArray:
    """Reads batch files: rows of 1024 red, 1024 green and 1024 blue pixels, and their labels."""
    batches = [_unpickle(folder / file) for file in files]
    try:
        pixels = np.concatenate([batch[b"data"] for batch in batches])  # (n, 3072)
        targets = np.concatenate([batch[key.encode()] for batch in batches])
        images = torch.from_numpy(pixels).view(-1, 3, 32, 32)
        names = [f"{split}/{row:05d}" for row in range(len(images))]
        return ImageArray(images, targets, names)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _unexpected(folder / files[0], error) from error


def _classes(file: Path, key: str) -> tuple[str, ...]:
    try:
        return tuple(name.decode() for name in _unpickle(file)[key.encode()])
    except (KeyError, TypeError, AttributeError) as error:
        raise _unexpected(file, error) from error


def _unpickle(file: Path) -> Any:
    if not file.is_file():
        raise DatasetNotFound(
            f"{file} is missing; delete the folder {file.parent} and start again, "
            "so that it is unpacked anew"
        )
    with file.open("rb") as stream:
        try:
            return _Unpickler(stream, encoding="bytes").load()  # Python 2 wrote the official ones
        except Exception as error:  # broken bytes make pickle raise nearly anything
            raise _unexpected(file, error) from error


def _unexpected(file: Path, error: Exception) -> BadArchive:
    return BadArchive(
        f"{file} is no official batch file ({type(error).__name__}: {error}); "
        f"delete the folder {file.parent} and start again"
    )


class _Unpickler(pickle.Unpickler):
    """Builds numpy arrays and plain values only; a pickle may otherwise run any code."""

    _ALLOWED = {  # noqa: RUF012
        "_reconstruct": np.empty(0).__reduce__()[0],  # wherever this numpy keeps it
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return self._ALLOWED[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
