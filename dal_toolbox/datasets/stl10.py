"""STL-10 (Coates et al., 2011, https://cs.stanford.edu/~acoates/stl10)."""

from pathlib import Path

import numpy as np

from dal_toolbox.datasets._bundles import array_bundle
from dal_toolbox.datasets._columns import map_images, read_images
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, DatasetNotFound, ImageArray
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

STL10 = Archive(
    dataset="STL10",
    url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    md5="91f7769df0f17e558f3565bffb0c7dfb",
    folder="stl10_binary",
)
STATISTICS = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)  # of the training images
SHAPE = (3, 96, 96)
NUM_CLASSES = 10
NUM_FOLDS = 10


class BadFold(UserError, ValueError):
    """A fold that the dataset does not have."""


@DATASETS.register("STL10")
def stl10(
    dataset_path: Path,
    *,
    fold: int | None = None,
    val_size: float = 0.0,
    split_seed: int = 0,
    download: bool = True,
) -> DatasetBundle:
    """5,000 training, 8,000 test and 100,000 unlabeled images of 96×96 pixels in 10 classes.

    The unlabeled images are rewritten once to ``dataset_path/packed`` (2.8 GB) and memory-mapped.

    Args:
        dataset_path: Holds ``stl10_binary.tar.gz`` or the folder ``stl10_binary``.
        fold: One of the ten official folds of 1,000 training images, from 0; all by default.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        download: Downloads the official archive where it is missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A file is not in the official format.
        BadFold: There is no such fold.
    """
    if fold is not None and not 0 <= fold < NUM_FOLDS:
        raise BadFold(f"dataset.fold={fold}; wanted 0 to {NUM_FOLDS - 1}, or null for all images")
    folder = fetch(STL10, dataset_path, download=download)
    train, test = _labeled(folder, "train"), _labeled(folder, "test")
    if fold is not None:
        train = train.subset(_fold(_existing(folder / "fold_indices.txt"), fold, len(train)))
    classes = tuple(_existing(folder / "class_names.txt").read_text().split())
    unlabeled = _unlabeled(folder / "unlabeled_X.bin", dataset_path / "packed")
    return array_bundle(
        "STL10", train, test, classes, STATISTICS, val_size, split_seed, unlabeled=unlabeled
    )


def _labeled(folder: Path, split: str) -> ImageArray:
    images = read_images(_existing(folder / f"{split}_X.bin"), SHAPE)
    labels = np.fromfile(_existing(folder / f"{split}_y.bin"), dtype=np.uint8).astype(np.int64)
    if len(labels) != len(images) or not 1 <= labels.min() <= labels.max() <= NUM_CLASSES:
        raise _unexpected(
            folder / f"{split}_y.bin",
            f"wanted {len(images)} labels from 1 to {NUM_CLASSES}, one for each image",
        )
    return ImageArray(images, labels - 1, _names(split, len(labels)))


def _unlabeled(file: Path, cache_dir: Path) -> ImageArray | None:
    if not file.is_file():
        log.warning("%s is missing: there are no unlabeled images", file)
        return None
    images, digest = map_images(file, SHAPE, cache_dir)
    targets = np.full(len(images), -1)
    return ImageArray(images, targets, _names("unlabeled", len(images)), digest=digest)


def _fold(file: Path, fold: int, size: int) -> np.ndarray:
    """Training rows of a fold: one line of the file each."""
    try:
        rows = np.array(file.read_text().splitlines()[fold].split(), dtype=np.int64)
    except (IndexError, ValueError) as error:
        raise _unexpected(file, f"fold {fold}: {error}") from error
    if not len(rows) or not 0 <= rows.min() <= rows.max() < size:
        raise _unexpected(file, f"the rows of fold {fold} are not among {size} images")
    return rows


def _names(split: str, n: int) -> list[str]:
    return [f"{split}/{row:06d}" for row in range(n)]


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DatasetNotFound(
            f"{file} is missing; delete the folder {file.parent} and start again, "
            "so that it is unpacked anew"
        )
    return file


def _unexpected(file: Path, reason: str) -> BadArchive:
    return BadArchive(
        f"{file} is no official STL-10 file ({reason}); delete the folder {file.parent} "
        "and start again"
    )
