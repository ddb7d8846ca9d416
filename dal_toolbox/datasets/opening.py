"""Image files made ready for use: packed or checked, divided into splits, measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from dal_toolbox.arguments import at_least, between, one_of
from dal_toolbox.datasets._sealed import read_sealed, write_sealed
from dal_toolbox.datasets._statistics import channel_statistics
from dal_toolbox.datasets.base import ImageArray, Images
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.packing import pack as pack_files
from dal_toolbox.datasets.skipping import NothingReadable, bad_list, find_bad, leave_out
from dal_toolbox.errors import UserError
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
            f"max_size={max_size}: must not be below image_size={image_size}, what the network gets; "
            "0 stores that size"
        )
    return max_size or image_size


def check_pack(pack: Pack, pack_bytes: int) -> None:
    """Checks whether and how images can be packed.

    Raises:
        ValueError: One of both cannot be meant.
    """
    one_of(get_args(Pack), pack=pack)
    at_least(0, pack_bytes=pack_bytes)


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
        ValueError: ``pack`` or ``pack_bytes`` cannot be meant.
        CorruptImage: A file cannot be decoded; where nothing is packed, only when its turn comes.
        NothingReadable: No file can be decoded.
    """
    check_pack(pack, pack_bytes)
    num_bytes = len(files) * int(np.prod(files.shape))
    cache_dir = dataset_path / "packed"
    if pack == "always" or (pack == "auto" and num_bytes <= pack_bytes):
        return pack_files(files, cache_dir, num_workers=num_workers)
    if pack == "auto":
        log.warning(
            "the images take %.1f GB decoded, more than pack_bytes=%d: they are decoded "
            "anew in every epoch; pack=always decodes them once",
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
    known = _read_statistics(file, train)
    if known is not None:
        return known
    mean, std = channel_statistics(train)
    try:
        write_sealed(file, {"images": train.fingerprint, "mean": mean, "std": std})
    except OSError as error:
        log.warning("statistics of the pixels cannot be kept in %s: %s", file, error.strerror)
    return mean, std


def _read_statistics(
    file: Path, train: ImageArray
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """What was computed earlier; None if there is nothing, or something damaged."""
    if not file.exists():
        return None
    try:
        facts = read_sealed(file)
        mean, std = (tuple(map(float, facts[key])) for key in ("mean", "std"))
        if facts["images"] != train.fingerprint or not len(mean) == len(std) == train.shape[0]:
            raise ValueError("of other images")
        between(0, 1, **{f"mean {channel}": value for channel, value in enumerate(mean)})
        between(1 / 255, 1, **{f"std {channel}": value for channel, value in enumerate(std)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is computed anew (%s)", file, error)
        return None
    return mean, std
