"""The array file of a pack while it is written: chunk by chunk, gone on with after a break."""

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np

from dal_toolbox.io import block_digest


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
    return len(header(shape)) + math.prod(shape)


class Part:
    """A pack that is being written; takes up what an interrupted call left.

    Beside the pixels lies a journal with a line for each chunk: what was looked at, left out and
    written, and the digest of that. Only pixels that fit their line are taken up, so that nothing
    depends on which of both reached the disk before a crash.

    Args:
        directory: Where it lies.
        item: Shape of an image: (c, h, w).
    """

    def __init__(self, directory: Path, item: Sequence[int]) -> None:
        self.directory, self.item = directory, tuple(item)
        self.pixels, self.journal = directory / "images.npy.part", directory / "journal.jsonl.part"
        self.rows = 0  # that were looked at
        self.images = 0  # that were written
        self.bad: dict[int, str] = {}  # rows that were left out, and why
        self.digest = sha256()  # of what was written
        self._take_up()

    @property
    def shape(self) -> list[int]:
        """Of what was written."""
        return [self.images, *self.item]

    def append(self, images: np.ndarray, bad: Mapping[int, str]) -> None:
        """Adds a chunk: the images of the next ``len(images) + len(bad)`` rows, without the bad ones."""
        with self.pixels.open("ab") as file:
            file.write(images.data)
        chunk = {"images": len(images), "digest": block_digest(images.data)}
        with self.journal.open("a") as file:
            file.write(json.dumps({**chunk, "bad": list(bad.items())}) + "\n")
        self._count(images.data, len(images), bad)

    def finish(self, goal: Path) -> None:
        """Writes into the head how many images there are, everything to the disk, and renames it."""
        with self.pixels.open("r+b") as file:
            file.write(header(self.shape))
            file.flush()
            os.fsync(file.fileno())
        self.pixels.replace(goal)

    def remove(self) -> None:
        """Removes whatever is half written in the directory."""
        for path in self.directory.glob("*.part"):
            path.unlink(missing_ok=True)

    def _count(self, content: Any, images: int, bad: Mapping[int, str]) -> None:
        self.digest.update(content)
        self.images += images
        self.rows += images + len(bad)
        self.bad.update(bad)

    def _take_up(self) -> None:
        head, lines = header((0, *self.item)), []
        with self.pixels.open("r+b" if self.pixels.exists() else "w+b") as file:
            file.write(head)
            for line in self._sound_chunks(file):
                lines.append(line)
            file.truncate(len(head) + self.images * math.prod(self.item))
        self.journal.write_bytes(b"".join(line + b"\n" for line in lines))

    def _sound_chunks(self, file: IO[bytes]) -> Iterator[bytes]:
        lines = self.journal.read_bytes().split(b"\n")[:-1] if self.journal.exists() else []
        for line in lines:
            try:
                chunk = json.loads(line)
                content = file.read(chunk["images"] * math.prod(self.item))
                if block_digest(content) != chunk["digest"]:
                    return
                self._count(content, chunk["images"], dict(chunk["bad"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                return
            yield line
