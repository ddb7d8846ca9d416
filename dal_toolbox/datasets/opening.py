"""Image files made ready for use: packed or checked, divided into splits, measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from dal_toolbox.datasets._statistics import channel_statistics
from dal_toolbox.datasets.base import ImageArray, Images
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.packing import pack as pack_files
from dal_toolbox.datasets.skipping import NothingReadable, bad_list, find_bad, leave_out
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_json, write_json
from dal_toolbox.progress import log

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PACK_BYTES = 4 * 2**30

Pack: TypeAlias = Literal["auto", "always", "never"]


class BadSize(UserError, ValueError):
    """Images stored smaller than what the network gets."""


def stored_size(image_size: int, max_size: int) -> int:
    """Height and width to store images at: ``max_size``, or ``image_size`` where that is 0.

    Raises:
        BadSize: ``max_size`` is smaller than ``image_size``, or negative.
    """
    if max_size and max_size < image_size:
        raise BadSize(
            f"dataset.max_size={max_size} is below dataset.image_size={image_size}; "
            f"wanted {image_size} or more, or 0 to store that size"
        )
    return max_size or image_size


def open_images(
    files: ImageFiles,
    dataset_path: Path,
    num_workers: int,
    *,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
) -> Images:
    """The images of files, decoded once into one array or left to be decoded whenever needed.

    With ``files.on_error="skip"``, files that cannot be decoded are left out, listed in ``skipped``
    of the result and named in a warning. Where nothing is packed, one pass at the first call finds
    them. Rows of the result are then others than those of ``files``: :func:`split_images` knows.

    Args:
        files: What to open.
        dataset_path: Packs lie in ``dataset_path/packed``.
        num_workers: Processes that decode.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.

    Raises:
        CorruptImage: A file cannot be decoded; where nothing is packed, only when its turn comes.
        NothingReadable: No file can be decoded.
    """
    num_bytes = len(files) * int(np.prod(files.shape))
    cache_dir = dataset_path / "packed"
    if pack == "always" or (pack == "auto" and num_bytes <= pack_bytes):
        return pack_files(files, cache_dir, num_workers=num_workers)
    if pack == "auto":
        log.warning(
            "the images take %.1f GB decoded, more than dataset.pack_bytes=%d: they are decoded "
            "anew in every epoch; dataset.pack=always decodes them once",
            num_bytes / 1e9,
            pack_bytes,
        )
    if files.on_error == "raise":
        return files
    return leave_out(
        files, find_bad(files, cache_dir, num_workers=num_workers), bad_list(files, cache_dir)
    )


def split_images(
    images: Images, files: ImageFiles, splits: Mapping[str, np.ndarray]
) -> dict[str, Images]:
    """The images of each split, without those that were skipped.

    Args:
        images: What :func:`open_images` made of ``files``.
        files: What was opened.
        splits: Rows of ``files`` of each split.

    Raises:
        NothingReadable: All files of a split were skipped.
    """
    skipped = {file.name for file in images.skipped}
    is_good = np.array([name not in skipped for name in files.names], dtype=bool)
    new_row = np.cumsum(is_good) - 1
    parts = {split: images.subset(new_row[rows[is_good[rows]]]) for split, rows in splits.items()}
    for split, rows in splits.items():
        if len(rows) and not len(parts[split]):
            raise NothingReadable(
                f"none of the {len(rows)} files for {split} below {files.root} can be decoded"
            )
    return parts


def pixel_statistics(
    train: Images, dataset_path: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1]; computed once for each training split.

    Of up to 10,000 images where they are packed, else those of ImageNet.
    """
    if not isinstance(train, ImageArray):
        return IMAGENET_MEAN, IMAGENET_STD
    file = dataset_path / "packed" / "statistics" / f"statistics-{train.fingerprint[:16]}.json"
    if not file.exists():
        mean, std = channel_statistics(train)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"mean": mean, "std": std})
    facts = read_json(file)
    return tuple(facts["mean"]), tuple(facts["std"])
