"""Image files decoded once, into one array that is memory-mapped from then on."""

import hashlib
import io
import json
import mmap
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from dal_toolbox.datasets.base import ImageArray
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.loader import ImageLoader
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log, progress_bar

CHUNK_BYTES = 4 * 2**20  # decoded by one worker at a time; small, for shared memory may be scarce
READ_BYTES = 2**24


class DiskFull(UserError, OSError):
    """There is no room for a pack."""


def pack(images: ImageFiles, cache_dir: Path, *, num_workers: int = 0) -> ImageArray:
    """The same images as one memory-mapped array, decoded at the first call only.

    The array lies in ``cache_dir/<fingerprint>``: a changed file or another size makes another
    one. An interrupted call goes on where it was; of two processes the second waits and then
    takes what the first made.

    Args:
        images: What to decode.
        cache_dir: Where packs lie.
        num_workers: Processes that decode.

    Raises:
        CorruptImage: A file cannot be decoded.
        DiskFull: The pack does not fit.
    """
    directory = cache_dir / images.fingerprint
    if not _is_complete(images, directory):
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / f".{images.fingerprint}.lock"):
            if not _is_complete(images, directory):
                _write(images, directory, num_workers)
    digest = _manifest(directory)["digest"]
    return ImageArray(_map(images, directory), images.targets, images.names, digest=digest)


def write_json(path: Path, value: Any) -> None:
    """Writes a file that is either complete or not there."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)


def _is_complete(images: ImageFiles, directory: Path) -> bool:
    file = directory / "images.npy"
    manifest = _manifest(directory)  # written last
    return (
        manifest.get("shape") == _shape(images)
        and file.exists()
        and file.stat().st_size == len(_header(images)) + _num_bytes(images)
    )


def _manifest(directory: Path) -> dict[str, Any]:
    file = directory / "manifest.json"
    return json.loads(file.read_text()) if file.exists() else {}


def _write(images: ImageFiles, directory: Path, num_workers: int) -> None:
    log.info("packing %d images into %s", len(images), directory)
    directory.mkdir(exist_ok=True)
    part = directory / "images.npy.part"
    try:
        digest = _append(images, part, num_workers)
    except UserError:
        shutil.rmtree(directory)  # the repaired file will have another fingerprint
        raise
    part.replace(directory / "images.npy")
    facts = {"fingerprint": images.fingerprint, "shape": _shape(images), "digest": digest}
    write_json(directory / "manifest.json", facts)


def _append(images: ImageFiles, part: Path, num_workers: int) -> str:
    """Writes what ``part`` lacks; returns the digest of all pixels."""
    done, digest = _resume(images, part)
    rest = images.subset(np.arange(done, len(images)))
    _check_room(_num_bytes(rest), part.parent)
    chunk = max(1, CHUNK_BYTES // int(np.prod(images.shape)))
    loader = ImageLoader(rest, batch_size=chunk, num_workers=num_workers)
    with part.open("ab") as file, progress_bar() as progress:
        task = progress.add_task("Packing images", total=len(images), completed=done, note="")
        for batch, _, _ in loader:
            file.write(batch.numpy().data)
            digest.update(batch.numpy().data)
            progress.advance(task, len(batch))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _resume(images: ImageFiles, part: Path) -> tuple[int, Any]:
    """Cuts ``part`` after its last whole image; returns how many it has, and their digest."""
    header, item = _header(images), int(np.prod(images.shape))
    digest = hashlib.sha256()
    size = part.stat().st_size if part.exists() else 0
    done = max(0, size - len(header)) // item
    with part.open("r+b" if size else "w+b") as file:
        file.write(header)
        left = done * item
        while left:
            block = file.read(min(left, READ_BYTES))
            digest.update(block)
            left -= len(block)
        file.truncate(len(header) + done * item)
    return done, digest


def _check_room(needed: int, directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DiskFull(
            f"packing the images takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in "
            f"{directory}; choose dataset.pack=never or another dataset_path"
        )


def _map(images: ImageFiles, directory: Path) -> Tensor:
    """Maps the file. torch wants writable memory: a write stays in this process."""
    with (directory / "images.npy").open("rb") as file:
        if hasattr(mmap, "MAP_NORESERVE"):  # else a pack larger than the memory may be refused
            memory = mmap.mmap(
                file.fileno(),
                0,
                flags=mmap.MAP_PRIVATE | mmap.MAP_NORESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        else:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    flat = torch.frombuffer(memory, dtype=torch.uint8, offset=len(_header(images)))
    return flat.view(_shape(images))


def _shape(images: ImageFiles) -> list[int]:
    return [len(images), *images.shape]


def _num_bytes(images: ImageFiles) -> int:
    return len(images) * int(np.prod(images.shape))


def _header(images: ImageFiles) -> bytes:
    """The head of a .npy file, so that the pack opens with ``numpy.load``, too."""
    buffer = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": tuple(_shape(images))}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()
