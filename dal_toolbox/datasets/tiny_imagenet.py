"""Tiny ImageNet (Stanford CS231n, 2015, http://cs231n.stanford.edu/tiny-imagenet-200.zip)."""

from pathlib import Path

import numpy as np

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import Storage, check_drawing, file_bundle, joined, with_val
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._listing import by_class, list_images, read_lines
from dal_toolbox.datasets._wnids import described, read_words
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.opening import PACK_BYTES, Pack

TINY_IMAGENET = Archive(
    dataset="TinyImageNet",
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    md5="90528d7ca1a48142e341f4ef8d21d0de",
    folder="tiny-imagenet-200",
)
STATISTICS = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)  # of the training images


@DATASETS.register("TinyImageNet")
def tiny_imagenet(
    dataset_path: Path,
    num_workers: int,
    *,
    image_size: int = 64,
    max_size: int = 0,
    val_size: float = 0.0,
    split_seed: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
    download: bool = True,
) -> DatasetBundle:
    """100,000 training and 10,000 test images of 64×64 pixels in 200 classes of ImageNet.

    The official validation images are the test; the labels of the official test are not public.

    Args:
        dataset_path: Holds ``tiny-imagenet-200.zip`` or the folder ``tiny-imagenet-200``.
        num_workers: Processes that decode.
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
        BadArchive: A list is not in the official format.
    """
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    check_drawing(split_seed, val_size=val_size)
    one_of((True, False), download=download)
    root = fetch(TINY_IMAGENET, dataset_path, download=download)
    wnids = sorted(read_lines(root / "wnids.txt"))
    parts = {"train": _train(root, wnids), "test": _test(root, wnids)}
    layout = joined(parts, described(wnids, read_words(root / "words.txt")))
    layout = with_val(layout, val_size, split_seed)
    return file_bundle("TinyImageNet", root, layout, storage, STATISTICS)


def _train(root: Path, wnids: list[str]) -> tuple[list[str], np.ndarray]:
    found = [list_images(root / "train" / wnid / "images") for wnid in wnids]
    names = [
        f"train/{wnid}/images/{file}"
        for wnid, files in zip(wnids, found, strict=True)
        for file in files
    ]
    return names, np.repeat(np.arange(len(wnids)), [len(files) for files in found])


def _test(root: Path, wnids: list[str]) -> tuple[list[str], np.ndarray]:
    """Lines such as ``val_0.JPEG n03444034 0 32 44 62``: file, class, bounding box."""
    lines = [line.split() for line in read_lines(root / "val/val_annotations.txt")]
    names = [f"val/images/{words[0]}" for words in lines]
    return names, by_class([words[1] if len(words) > 1 else "" for words in lines], wnids)
