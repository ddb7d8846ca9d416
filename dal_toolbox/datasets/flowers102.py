"""Flowers-102 (Nilsback and Zisserman, 2008, https://www.robots.ox.ac.uk/~vgg/data/flowers/102)."""

from pathlib import Path

import numpy as np

from dal_toolbox.arguments import one_of
from dal_toolbox.datasets._bundles import Storage, file_bundle, joined
from dal_toolbox.datasets._download import Archive, Files, fetch, fetch_files
from dal_toolbox.datasets._flowers102_names import NAMES
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.matlab import read_matlab
from dal_toolbox.datasets.opening import PACK_BYTES, Pack

URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
HOME = "flowers-102"
IMAGES = Archive(
    dataset="Flowers102",
    url=f"{URL}102flowers.tgz",
    md5="52808999861908f626f3c1f4e79d11fa",
    folder="jpg",
    home=HOME,
    beside=", imagelabels.mat and setid.mat",
)
LISTS = Files(
    dataset="Flowers102",
    url=URL,
    md5={
        "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
        "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
    },
    homes=(HOME, ""),
)
NUM_IMAGES = 8189
SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}


@DATASETS.register("Flowers102")
def flowers102(
    dataset_path: Path,
    num_workers: int,
    *,
    image_size: int = 224,
    max_size: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
    download: bool = True,
) -> DatasetBundle:
    """1,020 training, 1,020 validation and 6,149 test photos of 102 flowers.

    Args:
        dataset_path: Holds ``102flowers.tgz`` (or its folder ``jpg``), ``imagelabels.mat`` and
            ``setid.mat`` in ``flowers-102``.
        num_workers: Processes that decode.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded ends the run or is left out.
        download: Downloads the official files where they are missing.

    Raises:
        DatasetNotFound: The data is not there and cannot be downloaded.
        BadArchive: A list is not in the official format.
    """
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    one_of((True, False), download=download)
    folder = fetch(IMAGES, dataset_path, download=download)
    label_file, split_file = fetch_files(LISTS, dataset_path, list(LISTS.md5), download=download)
    labels = _numbers(label_file, "labels", len(NAMES)) - 1  # of image 1, 2, …
    parts = {}
    for split, key in SPLITS.items():
        ids = _numbers(split_file, key, len(labels))
        parts[split] = [f"image_{number:05d}.jpg" for number in ids.tolist()], labels[ids - 1]
    return file_bundle("Flowers102", folder, joined(parts, NAMES), storage)


def _numbers(file: Path, key: str, largest: int) -> np.ndarray:
    numbers = read_matlab(file, {key: NUM_IMAGES})[key].ravel()
    if not len(numbers) or not np.isin(numbers, np.arange(1, largest + 1)).all():
        raise BadArchive(
            f"{key} of {file} holds other numbers than 1 to {largest}: put the official file there"
        )
    return numbers.astype(np.int64)
