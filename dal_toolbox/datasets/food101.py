"""Food-101 (Bossard et al., 2014, https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101)."""

from pathlib import Path

import numpy as np

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import Storage, check_drawing, file_bundle, joined, with_val
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._listing import by_class, read_lines
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.opening import PACK_BYTES, Pack

FOOD101 = Archive(
    dataset="Food101",
    url="http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
    md5="85eeb15f3717b99a5da872d97d918f87",
    folder="food-101",
)


@DATASETS.register("Food101")
def food101(
    dataset_path: Path,
    num_workers: int,
    *,
    image_size: int = 224,
    max_size: int = 0,
    val_size: float = 0.0,
    split_seed: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
    download: bool = True,
) -> DatasetBundle:
    """75,750 training and 25,250 test photos of 101 dishes.

    Args:
        dataset_path: Holds ``food-101.tar.gz`` or the folder ``food-101``.
        num_workers: Processes that decode.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded ends the run or is left out.
        download: Downloads the official archive (5 GB) where it is missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A list is not in the official format.
    """
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    root = fetch(FOOD101, dataset_path, download=download)
    classes = sorted(read_lines(root / "meta/classes.txt"))
    parts = {split: _split(root, split, classes) for split in ("train", "test")}
    layout = with_val(joined(parts, tuple(classes)), val_size, split_seed)
    return file_bundle("Food101", root, layout, storage)


def _split(root: Path, split: str, classes: list[str]) -> tuple[list[str], np.ndarray]:
    """Lines such as ``apple_pie/1005649``."""
    lines = read_lines(root / f"meta/{split}.txt")
    return [f"images/{line}.jpg" for line in lines], by_class(lines, classes)
