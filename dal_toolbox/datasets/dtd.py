"""Describable Textures (Cimpoi et al., 2014, https://www.robots.ox.ac.uk/~vgg/data/dtd)."""

from pathlib import Path

import numpy as np

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import Storage, file_bundle, integer_from, joined
from dal_toolbox.datasets._download import Archive, fetch
from dal_toolbox.datasets._listing import by_class, read_lines
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.opening import PACK_BYTES, Pack

DTD = Archive(
    dataset="DTD",
    url="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    md5="fff73e5086ae6bdbea199a49dfb8a4c1",
    folder="dtd",
)
SPLITS = ("train", "val", "test")
NUM_PARTITIONS = 10


@DATASETS.register("DTD")
def dtd(
    dataset_path: Path,
    num_workers: int,
    *,
    partition: int = 1,
    image_size: int = 224,
    max_size: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
    download: bool = True,
) -> DatasetBundle:
    """1,880 images each for training, validation and test of 47 textures.

    Args:
        dataset_path: Holds ``dtd-r1.0.1.tar.gz`` or the folder ``dtd``.
        num_workers: Processes that decode.
        partition: Which of the ten official splits, from 1.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded ends the run or is left out.
        download: Downloads the official archive where it is missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A list is not in the official format.
    """
    integer_from(1, NUM_PARTITIONS, partition=partition)
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    one_of((True, False), download=download)
    root = fetch(DTD, dataset_path, download=download)
    root = root / "dtd" if (root / "dtd").is_dir() else root  # where torchvision unpacks it
    lines = {split: read_lines(root / f"labels/{split}{partition}.txt") for split in SPLITS}
    classes = sorted({line.split("/")[0] for listed in lines.values() for line in listed})
    parts: dict[str, tuple[list[str], np.ndarray]] = {
        split: ([f"images/{line}" for line in listed], by_class(listed, classes))
        for split, listed in lines.items()
    }
    return file_bundle("DTD", root, joined(parts, tuple(classes)), storage)
