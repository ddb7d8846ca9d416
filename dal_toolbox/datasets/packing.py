"""Image files decoded once, into one array that is memory-mapped from then on."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch import Tensor

from dal_toolbox.datasets import _pack_file as pack_file
from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets.base import ImageArray
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.loader import map_batches
from dal_toolbox.datasets.skipping import from_records, leave_out, to_records
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_json, write_json
from dal_toolbox.progress import log, progress_bar

CHUNK_BYTES = 4 * 2**20  # decoded by one worker at a time; small, for shared memory may be scarce
MENTIONED_BYTES = 10**9  # of other packs


class DiskFull(UserError, OSError):
    """There is no room for a pack."""


def pack(files: ImageFiles, cache_dir: Path, *, num_workers: int = 0) -> ImageArray:
    """The same images as one memory-mapped array, decoded at the first call only.

    The array lies in ``cache_dir/<fingerprint>``: a changed file or another size makes another
    one. An interrupted call goes on where it was; of two processes the second waits and then
    takes what the first made. With ``files.on_error="skip"``, files that cannot be decoded are
    left out; ``manifest.json`` lists them, so that later calls know.

    Args:
        files: What to decode.
        cache_dir: Where packs lie.
        num_workers: Processes that decode.

    Raises:
        CorruptImage: A file cannot be decoded, and is not to be skipped.
        NothingReadable: No file can be decoded.
        DiskFull: The pack does not fit.
    """
    directory = cache_dir / files.fingerprint
    if not _is_complete(files, directory):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / f".{files.fingerprint}.lock"):
            if not _is_complete(files, directory):
                _write(files, directory, num_workers)
                _mention_others(directory)
    manifest = directory / "manifest.json"
    facts = read_json(manifest)
    good = leave_out(files, from_records(facts.get("skipped", [])), manifest)
    pixels = pack_file.map_images(directory / "images.npy", facts["shape"])
    array = ImageArray(pixels, good.targets, good.names, digest=facts["digest"])
    array.skipped = good.skipped
    return array


def _is_complete(files: ImageFiles, directory: Path) -> bool:
    if not (directory / "manifest.json").exists():  # written last
        return False
    facts = read_json(directory / "manifest.json")
    bad = from_records(facts.get("skipped", []))
    if bad and files.on_error == "raise":
        files.batch(np.array(sorted(bad)))  # raises; if not, the files can be read by now
        return False
    shape = [len(files) - len(bad), *files.shape]
    if facts.get("shape") == shape and _is_sound(directory / "images.npy", shape, facts):
        return True
    log.warning("%s is damaged; the images are packed anew", directory)
    return False


def _is_sound(path: Path, shape: list[int], facts: dict[str, object]) -> bool:
    if not path.exists() or path.stat().st_size != pack_file.num_bytes(shape):
        return False
    return facts.get("sample") in (None, pack_file.sample_digest(path))


def _write(files: ImageFiles, directory: Path, num_workers: int) -> None:
    log.info("packing %d images into %s", len(files), directory)
    directory.mkdir(exist_ok=True)
    part = directory / "images.npy.part"
    journal = pack_file.Journal(directory / "skipped.jsonl.part")
    try:
        digest = _append(files, part, journal, num_workers)
    except CorruptImage:
        part.unlink()  # the repaired file will have another fingerprint
        journal.path.unlink(missing_ok=True)
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(directory, 0) from error
        raise
    bad = journal.read()
    shape = [len(files) - len(bad), *files.shape]
    pack_file.finish(part, shape)
    sample = pack_file.sample_digest(part)
    part.replace(directory / "images.npy")
    facts = {"fingerprint": files.fingerprint, "shape": shape, "digest": digest, "sample": sample}
    write_json(directory / "manifest.json", {**facts, "skipped": to_records(files, bad)})
    journal.path.unlink(missing_ok=True)


def _append(files: ImageFiles, part: Path, journal: pack_file.Journal, num_workers: int) -> str:
    """Writes what ``part`` lacks; returns the digest of all pixels."""
    done, digest = pack_file.resume(part, files.shape)
    bad = journal.read()
    start = pack_file.next_row(done, bad)
    journal.write({row: reason for row, reason in bad.items() if row < start})
    item = int(np.prod(files.shape))
    _check_room((len(files) - start) * item, part.parent)
    with part.open("ab") as file, progress_bar() as progress:
        task = progress.add_task("Packing images", total=len(files), completed=start, note="")
        for images, found in _decoded(files, start, max(1, CHUNK_BYTES // item), num_workers):
            journal.append(found)  # before the images: their place follows from it
            file.write(images.numpy().data)
            digest.update(images.numpy().data)
            progress.advance(task, len(images) + len(found))
    return digest.hexdigest()


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
    return DiskFull(
        f"packing the images takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in "
        f"{directory}; choose dataset.pack=never or another dataset_path"
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
            "%d other packs in %s take %.1f GB; delete the folders that you need no more",
            *(len(sizes), directory.parent, sum(sizes) / 1e9),
        )
