"""Imagenette: ten easy classes of ImageNet (https://github.com/fastai/imagenette)."""

from pathlib import Path
from typing import Literal

import numpy as np

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import Storage, check_drawing, file_bundle, joined, with_val
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._listing import list_images
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.opening import PACK_BYTES, Pack

URL = "https://s3.amazonaws.com/fast-ai-imageclas"
MD5 = {
    "": "fe2fc210e6bb7c5664d602c3cd71e612",
    "-320": "3df6f0d01a2c9592104656642f5e78a3",
    "-160": "e793b78cc4c9e9a4ccc0c1155377a412",
}
SIZES = ("full", "320", "160")
CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


@DATASETS.register("Imagenette")
def imagenette(
    dataset_path: Path,
    num_workers: int,
    *,
    size: Literal["full", "320", "160"] = "160",
    image_size: int = 128,
    max_size: int = 0,
    val_size: float = 0.0,
    split_seed: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
    download: bool = True,
) -> DatasetBundle:
    """9,469 training and 3,925 test photos in 10 classes.

    Args:
        dataset_path: Holds ``imagenette2-160.tgz`` or the folder ``imagenette2-160`` (``-320`` or
            nothing for the other sizes).
        num_workers: Processes that decode.
        size: Length of the shorter side of the files in pixels, or as they were.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        val_size: Share of the training images that is set apart for validation.
        split_seed: Chooses the validation images.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded ends the run or is left out.
        download: Downloads the official archive where it is missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
    """
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    one_of(SIZES, size=size)
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    root = fetch(archive(size), dataset_path, download=download)
    parts = {"train": _split(root, "train"), "test": _split(root, "val")}
    layout = with_val(joined(parts, tuple(CLASSES.values())), val_size, split_seed)
    return file_bundle("Imagenette", root, layout, storage)


def archive(size: str) -> Archive:
    """Where the files of a size come from."""
    suffix = "" if size == "full" else f"-{size}"
    name = f"imagenette2{suffix}"
    return Archive("Imagenette", f"{URL}/{name}.tgz", MD5[suffix], name)


def _split(root: Path, split: str) -> tuple[list[str], np.ndarray]:
    found = {wnid: list_images(root / split / wnid) for wnid in CLASSES}
    names = [f"{split}/{wnid}/{file}" for wnid, files in found.items() for file in files]
    return names, np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
