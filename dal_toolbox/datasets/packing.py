"""Image files decoded once, into one array that is memory-mapped from then on."""

import errno
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch import Tensor

from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets._pack_file import Part, num_bytes
from dal_toolbox.datasets._sealed import forget, read_sealed, write_sealed
from dal_toolbox.datasets.base import ImageArray
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.loader import map_batches
from dal_toolbox.datasets.mapped import DamagedImages, MappedImages
from dal_toolbox.datasets.skipping import from_records, leave_out, to_records
from dal_toolbox.errors import UserError
from dal_toolbox.io import BLOCK_BYTES, block_digests, remove_leftovers
from dal_toolbox.progress import log, progress_bar

CHUNK_BYTES = 4 * 2**20  # decoded by one worker at a time; small, for shared memory may be scarce
MENTIONED_BYTES = 10**9  # of other packs


class CannotPack(UserError, OSError):
    """A pack cannot be written."""


class DiskFull(CannotPack):
    """There is no room for a pack."""


def pack(files: ImageFiles, cache_dir: Path, *, num_workers: int = 0) -> ImageArray:
    """The same images as one memory-mapped array, decoded at the first call only.

    The array lies in ``cache_dir/<fingerprint>``: a changed file or another size makes another
    one. An interrupted call goes on where it was; of two processes the second waits and then
    takes what the first made. With ``files.on_error="skip"``, files that cannot be decoded are
    left out; ``manifest.json`` lists them, so that later calls know.

    Every byte is compared with the checksums of the manifest before it is used: of up to 1 GiB
    right here, and a damaged pack is made anew; of more when it is read.

    Args:
        files: What to decode.
        cache_dir: Where packs lie.
        num_workers: Processes that decode.

    Raises:
        CorruptImage: A file cannot be decoded, and is not to be skipped.
        NothingReadable: No file can be decoded.
        CannotPack: The pack cannot be written.
        DiskFull: The pack does not fit.
    """
    directory = cache_dir / files.fingerprint
    try:
        images = _open(files, directory)
        return _pack(files, directory, num_workers) if images is None else images
    except UserError:
        raise
    except OSError as error:
        raise _cannot_pack(error, directory) from error


def _pack(files: ImageFiles, directory: Path, num_workers: int) -> ImageArray:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_name(f".{directory.name}.lock")):
        images = _open(files, directory, will_pack=True)
        if images is None:
            _write(files, directory, num_workers)
            _mention_others(directory)
            images = _open(files, directory)
    if images is None:
        raise DamagedImages(f"{directory} cannot be read as it was written; look after the disk")
    return images


def _open(files: ImageFiles, directory: Path, *, will_pack: bool = False) -> ImageArray | None:
    """The pack; None if there is none, or a damaged one."""
    manifest = directory / "manifest.json"
    if not manifest.exists():  # written last
        return None
    try:
        facts = read_sealed(manifest)
        bad = from_records(facts["skipped"])
        shape = [len(files) - len(bad), *files.shape]
        path = directory / "images.npy"
        if facts["fingerprint"] != files.fingerprint or facts["block_bytes"] != BLOCK_BYTES:
            raise ValueError("it is of other files, or of another version")
        if facts["shape"] != shape or path.stat().st_size != num_bytes(shape):
            raise ValueError("it has another size")
        contents = files._item_digests()
        good = np.setdiff1d(np.arange(len(files)), list(bad))
        images = MappedImages(
            path,
            shape,
            files.targets[good],
            [files.names[row] for row in good.tolist()],
            digest=facts["digest"],
            blocks=facts["blocks"],
            forget=lambda: forget(manifest),
            contents=contents[good] if contents is not None else None,
        )
    except (OSError, ValueError, KeyError, TypeError, DamagedImages) as error:
        if will_pack:
            log.warning("%s is damaged; the images are packed anew (%s)", directory, error)
        return None
    return _without_bad(files, bad, images, manifest)


def _without_bad(
    files: ImageFiles, bad: dict[int, str], images: MappedImages, manifest: Path
) -> ImageArray | None:
    """Warns of what was left out; None if it must not be left out, and can be read by now."""
    if bad and files.on_error == "raise":
        files.batch(np.array(sorted(bad)))  # raises
        return None
    images.skipped = leave_out(files, bad, manifest).skipped
    return images


def _write(files: ImageFiles, directory: Path, num_workers: int) -> None:
    log.info("packing %d images into %s", len(files), directory)
    directory.mkdir(exist_ok=True)
    remove_leftovers(directory / "manifest.json")
    forget(directory / "manifest.json")
    part = Part(directory, files.shape)
    try:
        _append(files, part, num_workers)
    except CorruptImage:
        part.remove()  # the repaired file will have another fingerprint
        raise
    path = directory / "images.npy"
    part.finish(path)
    facts = {
        "fingerprint": files.fingerprint,
        "shape": part.shape,
        "digest": part.digest.hexdigest(),
        "block_bytes": BLOCK_BYTES,
        "blocks": block_digests(path, BLOCK_BYTES),
        "skipped": to_records(files, part.bad),
    }
    write_sealed(directory / "manifest.json", facts)
    part.remove()


def _append(files: ImageFiles, part: Part, num_workers: int) -> None:
    """Writes what is missing."""
    item = math.prod(files.shape)
    _check_room((len(files) - part.rows) * item, part.directory)
    with progress_bar() as progress:
        start = part.rows
        task = progress.add_task("Packing images", total=len(files), completed=start, note="")
        for images, found in _decoded(files, start, max(1, CHUNK_BYTES // item), num_workers):
            part.append(images.numpy(), found)
            progress.update(task, completed=part.rows)


def _decoded(
    files: ImageFiles, start: int, chunk: int, num_workers: int
) -> Iterator[tuple[Tensor, dict[int, str]]]:
    """Images from row ``start`` on, and what is wrong with the rows that are missing in them."""
    rows = np.arange(start, len(files))
    batches = [rows[first : first + chunk] for first in range(0, len(rows), chunk)]
    if files.on_error == "skip":
        yield from map_batches(files.readable, batches, num_workers)
    else:
        yield from ((images, {}) for images in map_batches(files.batch, batches, num_workers))


def _check_room(needed: int, directory: Path) -> None:
    if needed > shutil.disk_usage(directory).free:
        raise _disk_full(directory, needed)


def _disk_full(directory: Path, needed: int) -> DiskFull:
    free = shutil.disk_usage(directory).free
    room = f"{needed / 1e9:.1f} GB," if needed else "more than there is:"
    return DiskFull(
        f"packing the images takes {room} {free / 1e9:.1f} GB are free in "
        f"{directory}; choose pack=never or another dataset_path"
    )


def _cannot_pack(error: OSError, directory: Path) -> CannotPack:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(directory.parent, 0)
    return CannotPack(
        f"cannot pack the images: {error.filename or directory}: {error.strerror or error}; "
        "choose pack=never or another dataset_path, or start again once it can be written"
    )


def _mention_others(directory: Path) -> None:
    """Says what packs take that this one may have superseded; only their owner knows if so."""
    sizes = [
        file.stat().st_size
        for file in directory.parent.glob("*/images.npy*")
        if file.parent != directory
    ]
    if sum(sizes) > MENTIONED_BYTES:
        log.info(
            "%d other packs in %s take %.1f GB; delete the folders that you no longer need",
            *(len(sizes), directory.parent, sum(sizes) / 1e9),
        )
