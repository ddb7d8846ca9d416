"""The array file of a pack: appended to, gone on with, memory-mapped, spot-checked."""

import io
import json
import mmap
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

READ_BYTES = 2**24
SAMPLE_BLOCKS, SAMPLE_BYTES = 16, 2**16


def header(shape: Sequence[int]) -> bytes:
    """The head of a .npy file, so that a pack opens with ``numpy.load``, too.

    Its length is the same for every number of images: numpy leaves room for the first axis to grow.
    """
    buffer = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def num_bytes(shape: Sequence[int]) -> int:
    """Size of the whole file."""
    return len(header(shape)) + int(np.prod(shape))


def resume(part: Path, item: Sequence[int]) -> tuple[int, Any]:
    """Cuts ``part`` after its last whole image; returns how many it has, and their digest."""
    head, size_of_item = header((0, *item)), int(np.prod(item))
    digest = sha256()
    size = part.stat().st_size if part.exists() else 0
    done = max(0, size - len(head)) // size_of_item
    with part.open("r+b" if size else "w+b") as file:
        file.write(head)
        left = done * size_of_item
        while left:
            block = file.read(min(left, READ_BYTES))
            digest.update(block)
            left -= len(block)
        file.truncate(len(head) + done * size_of_item)
    return done, digest


def finish(part: Path, shape: Sequence[int]) -> None:
    """Writes into the head how many images there are, and everything to the disk."""
    with part.open("r+b") as file:
        file.write(header(shape))
        file.flush()
        os.fsync(file.fileno())


def map_images(path: Path, shape: Sequence[int]) -> Tensor:
    """Maps the file. torch wants writable memory: a write stays in this process."""
    with path.open("rb") as file:
        if hasattr(mmap, "MAP_NORESERVE"):  # else a pack larger than the memory may be refused
            memory = mmap.mmap(
                file.fileno(),
                0,
                flags=mmap.MAP_PRIVATE | mmap.MAP_NORESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        else:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    flat = torch.frombuffer(memory, dtype=torch.uint8, offset=len(header(shape)))
    return flat.view(*shape)


def sample_digest(path: Path) -> str:
    """Hex digest of 16 blocks spread over the file; finds lost parts of a file in milliseconds."""
    last = max(0, path.stat().st_size - SAMPLE_BYTES)
    digest = sha256()
    with path.open("rb") as file:
        for start in np.linspace(0, last, SAMPLE_BLOCKS).astype(np.int64).tolist():
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


class Journal:
    """Which rows a half-written pack left out, one JSON line each, on disk before what follows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[int, str]:
        """Rows and reasons; a line that was cut off counts for nothing."""
        text = self.path.read_text() if self.path.exists() else ""
        return dict(json.loads(line) for line in text.split("\n")[:-1])

    def write(self, bad: dict[int, str]) -> None:
        """Replaces everything."""
        self.path.write_text("")
        self.append(bad)

    def append(self, bad: dict[int, str]) -> None:
        if not bad:
            return
        with self.path.open("a") as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in bad.items()))
            file.flush()
            os.fsync(file.fileno())


def next_row(done: int, bad: dict[int, str]) -> int:
    """The row after the last of ``done`` good ones, where those of ``bad`` were left out.

    >>> next_row(2, {1: "empty", 5: "empty"})  # rows 0 and 2 are there
    3
    """
    row = done
    for left_out in sorted(bad):
        if left_out >= row:
            break
        row += 1
    return row
