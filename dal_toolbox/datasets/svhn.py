"""Street View House Numbers (Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers)."""

from pathlib import Path

import numpy as np
import torch

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import array_bundle, check_drawing
from dal_toolbox.datasets._columns import to_rows
from dal_toolbox.datasets._download import Files, fetch_files
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, ImageArray
from dal_toolbox.datasets.matlab import read_matlab

SVHN = Files(
    dataset="SVHN",
    url="http://ufldl.stanford.edu/housenumbers/",
    md5={
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
        "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
    },
    homes=("", "SVHN"),
)
STATISTICS = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)  # of the training images
IMAGES = {"train": 73_257, "test": 26_032, "extra": 531_131}
TEN = 10  # MATLAB counts from 1: the label of digit 0


@DATASETS.register("SVHN")
def svhn(
    dataset_path: Path,
    *,
    extra: bool = False,
    val_size: float = 0.0,
    split_seed: int = 0,
    download: bool = True,
) -> DatasetBundle:
    """73,257 training and 26,032 test images of digits on houses, 32×32 pixels.

    Args:
        dataset_path: Holds ``train_32x32.mat`` and ``test_32x32.mat``, or a folder ``SVHN`` does.
        extra: Adds the 531,131 easier images of ``extra_32x32.mat`` to the training images.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        download: Downloads the official files where they are missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A file is not in the official format.
    """
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), extra=extra, download=download)
    splits = ["train", "test", *(["extra"] if extra else [])]
    names = [f"{split}_32x32.mat" for split in splits]
    files = fetch_files(SVHN, dataset_path, names, download=download)
    parts = {split: _read(file, split) for split, file in zip(splits, files, strict=True)}
    train, test = parts["train"], parts["test"]
    if extra:
        train = _joined(train, parts["extra"])
    digits = tuple("0123456789")
    return array_bundle("SVHN", train, test, digits, STATISTICS, val_size, split_seed)


def _read(file: Path, split: str) -> ImageArray:
    """Reads ``X`` (32, 32, 3, n), ``y`` (n, 1) with labels from 1 to 10."""
    arrays = read_matlab(file, {"X": IMAGES[split] * 32 * 32 * 3, "y": IMAGES[split]})
    pixels, y = arrays["X"], arrays["y"].ravel()
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(y)):
        raise _unexpected(file, f"X is {pixels.dtype} {pixels.shape} beside {len(y)} labels")
    if not len(y) or not np.isin(y, np.arange(1, TEN + 1)).all():
        raise _unexpected(file, f"labels are not from 1 to {TEN}")
    images = to_rows(np.ascontiguousarray(pixels.T))  # it lies column by column: .T is free
    names = [f"{split}/{row:06d}" for row in range(len(y))]
    return ImageArray(images, y.astype(np.int64) % TEN, names)


def _joined(first: ImageArray, second: ImageArray) -> ImageArray:
    images = torch.cat([first.images, second.images])
    targets = np.concatenate([first.targets, second.targets])
    return ImageArray(images, targets, [*first.names, *second.names])


def _unexpected(file: Path, reason: str) -> BadArchive:
    return BadArchive(f"{file} is not the official file ({reason}); delete it and start again")
