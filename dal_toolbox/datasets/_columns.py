"""Square images that MATLAB stored column by column."""

import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from dal_toolbox.datasets._pack_file import header
from dal_toolbox.datasets._sealed import forget, read_sealed, write_sealed
from dal_toolbox.datasets._unpack import BadArchive, check_unpacked
from dal_toolbox.datasets.base import ImageArray
from dal_toolbox.datasets.mapped import DamagedImages, MappedImages
from dal_toolbox.io import BLOCK_BYTES, atomic_directory, block_digests, remove_leftovers
from dal_toolbox.progress import log, track

CHUNK = 1024  # images
Shape = tuple[int, int, int]


def to_rows(images: np.ndarray) -> np.ndarray:
    """Turns square images from columns to rows, in place: no second copy is ever held.

    Plane by plane, for a plane fits into the cache: four times as fast as all at once.

    Args:
        images: Contiguous. Shape: (n, c, w, h) with w = h; becomes (n, c, h, w).
    """
    for plane in images.reshape(-1, *images.shape[2:]):
        plane[:] = plane.T.copy()
    return images


def read_images(file: Path, shape: Shape) -> np.ndarray:
    """All images of a file of nothing but pixels; holds little more than what it returns.

    Returns:
        Shape: (n, *shape), uint8.

    Raises:
        BadArchive: The file ends within an image, or is empty.
    """
    images = np.empty((_count(file, shape), *shape), dtype=np.uint8)
    with file.open("rb") as stream:
        for start in range(0, len(images), CHUNK):
            _fill(images[start : start + CHUNK], stream)
    return images


def map_images(file: Path, shape: Shape, cache_dir: Path, split: str) -> ImageArray:
    """The same without labels, rewritten once into ``cache_dir`` and memory-mapped from then on.

    Where nothing can be written the images are read into memory, with a warning.

    Raises:
        BadArchive: The file ends within an image, or is empty.
    """
    count = _count(file, shape)
    targets, names = np.full(count, -1), row_names(split, count)
    status = file.stat()
    facts = f"{file.resolve()} {shape} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    directory = cache_dir / f"{file.stem}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    try:
        cache_dir.mkdir(exist_ok=True)
        with FileLock(cache_dir / f"{directory.name}.lock"):
            images = _open(directory, (count, *shape), targets, names)
            if images is None:
                remove_leftovers(directory)
                _rewrite(file, shape, directory)
                images = _open(directory, (count, *shape), targets, names)
        if images is not None:
            return images
        reason = "it cannot be read as it was written"
    except OSError as error:
        reason = error.strerror or str(error)
    log.warning("cannot use %s (%s): %s is read into memory", directory, reason, file)
    return ImageArray(read_images(file, shape), targets, names)


def row_names(split: str, count: int) -> list[str]:
    """Names of images that have none."""
    return [f"{split}/{row:06d}" for row in range(count)]


def _open(
    directory: Path, shape: tuple[int, ...], targets: np.ndarray, names: list[str]
) -> ImageArray | None:
    """The rewritten images; None if there are none, or damaged ones."""
    if not directory.exists():
        return None
    manifest = directory / "manifest.json"
    try:
        facts = read_sealed(manifest)
        return MappedImages(
            directory / "images.npy",
            shape,
            targets,
            names,
            digest=facts["digest"],
            blocks=facts["blocks"],
            forget=lambda: forget(manifest),
        )
    except (OSError, ValueError, KeyError, TypeError, DamagedImages) as error:
        log.warning("%s is made anew (%s)", directory, error)
        return None


def _rewrite(file: Path, shape: Shape, directory: Path) -> None:
    digest, count = hashlib.sha256(), _count(check_unpacked(file), shape)
    buffer = np.empty((min(CHUNK, count), *shape), dtype=np.uint8)
    starts = range(0, count, CHUNK)
    with atomic_directory(directory) as temporary:
        with file.open("rb") as stream, (temporary / "images.npy").open("wb") as goal:
            goal.write(header((count, *shape)))
            for start in track(starts, f"Rewriting {file.name} (blocks of {CHUNK})"):
                chunk = _fill(buffer[: count - start], stream)
                goal.write(chunk.data)
                digest.update(chunk.data)
        blocks = block_digests(temporary / "images.npy", BLOCK_BYTES)
        facts = {"digest": digest.hexdigest(), "blocks": blocks}
        write_sealed(temporary / "manifest.json", facts)


def _fill(images: np.ndarray, stream: BinaryIO) -> np.ndarray:
    if stream.readinto(images.data) != images.nbytes:  # type: ignore[attr-defined]
        raise BadArchive(f"{stream.name} became shorter while it was read; start again")
    return to_rows(images)


def _count(file: Path, shape: Shape) -> int:
    number, rest = divmod(file.stat().st_size, int(np.prod(shape)))
    if rest or not number:
        raise BadArchive(
            f"{file} is not complete: {rest} bytes are left after {number} images; "
            f"delete the folder {file.parent} and start again, so that it is unpacked anew"
        )
    return number
