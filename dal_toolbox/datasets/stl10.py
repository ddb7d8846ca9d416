"""STL-10 (Coates et al., 2011, https://cs.stanford.edu/~acoates/stl10)."""

from pathlib import Path

import numpy as np

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import array_bundle, check_drawing, integer_from
from dal_toolbox.datasets._columns import map_images, read_images, row_names
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._unpack import BadArchive, check_unpacked, one_line
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, DatasetNotFound, ImageArray
from dal_toolbox.io import read_text
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
MOST = {"train": 5_000, "test": 8_000, "unlabeled": 100_000}  # images


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
    """
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    if fold is not None:
        integer_from(0, NUM_FOLDS - 1, fold=fold)
    folder = fetch(STL10, dataset_path, download=download)
    train, test = _labeled(folder, "train"), _labeled(folder, "test")
    if fold is not None:
        train = train.subset(_fold(_existing(folder / "fold_indices.txt"), fold, len(train)))
    classes = _classes(folder / "class_names.txt")
    unlabeled = _unlabeled(folder, dataset_path / "packed")
    return array_bundle(
        "STL10", train, test, classes, STATISTICS, val_size, split_seed, unlabeled=unlabeled
    )


def _classes(file: Path) -> tuple[str, ...]:
    classes = tuple(read_text(_existing(file)).split())
    if len(set(classes)) != NUM_CLASSES:
        raise _unexpected(file, f"wanted the names of {NUM_CLASSES} classes")
    return classes


def _labeled(folder: Path, split: str) -> ImageArray:
    pixels, labels = _bounded(folder, f"{split}_X.bin"), _bounded(folder, f"{split}_y.bin")
    images = read_images(pixels, SHAPE)
    targets = np.fromfile(labels, dtype=np.uint8).astype(np.int64)
    if len(targets) != len(images) or not 1 <= targets.min() <= targets.max() <= NUM_CLASSES:
        reason = f"wanted {len(images)} labels from 1 to {NUM_CLASSES}, one for each image"
        raise _unexpected(labels, reason)
    return ImageArray(images, targets - 1, row_names(split, len(targets)))


def _unlabeled(folder: Path, cache_dir: Path) -> ImageArray | None:
    if not (folder / "unlabeled_X.bin").is_file():
        log.warning("%s is missing: there are no unlabeled images", folder / "unlabeled_X.bin")
        return None
    return map_images(_bounded(folder, "unlabeled_X.bin"), SHAPE, cache_dir, "unlabeled")


def _bounded(folder: Path, name: str) -> Path:
    """A file that is there, and no larger than the official one."""
    file = _existing(folder / name)
    item = int(np.prod(SHAPE)) if name.endswith("_X.bin") else 1
    if file.stat().st_size > MOST[name.partition("_")[0]] * item:
        raise _unexpected(file, "it is larger")
    return file if name.startswith("unlabeled") else check_unpacked(file)


def _fold(file: Path, fold: int, size: int) -> np.ndarray:
    """Training rows of a fold: one line of the file each."""
    try:
        rows = np.array(read_text(file).splitlines()[fold].split(), dtype=np.int64)
    except (IndexError, ValueError, OverflowError) as error:
        raise _unexpected(file, f"fold {fold}: {one_line(error)}") from error
    if not len(rows) or not 0 <= rows.min() <= rows.max() < size:
        raise _unexpected(file, f"the rows of fold {fold} are not among {size} images")
    if len(np.unique(rows)) < len(rows):
        raise _unexpected(file, f"fold {fold} lists a row twice")
    return rows


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
