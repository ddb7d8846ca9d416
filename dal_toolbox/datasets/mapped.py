"""Images in a memory-mapped file, whose every byte is checked before it is used."""

import math
import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.datasets.base import ImageArray, as_rows
from dal_toolbox.errors import UserError
from dal_toolbox.io import BLOCK_BYTES, THREADS, block_digest, verify_blocks

CHECKED_AT_ONCE = 2**30  # bytes: up to here a file is checked when it is opened, in 0.3 s


class DamagedImages(UserError):
    """A file of decoded images that is not what was written."""


class MappedImages(ImageArray):
    """Images in a mapped file; a block of it is checked when it is used for the first time.

    Args:
        path: The file: a head, and then nothing but pixels.
        shape: Shape of the images: (n, c, h, w).
        targets: Class indices, -1 = no label. Shape: (n,).
        names: Stable and unique ids. Length: n.
        digest: Hex digest of the pixels.
        blocks: What :func:`~dal_toolbox.io.block_digests` gave when the file was written.
        contents: Digest of each image's source, for ``content_fingerprint``. Shape: (n,), uint64.
        forget: Called when damage is found later, so that the file is made anew at the next start.

    Raises:
        DamagedImages: A small file is damaged.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        targets: np.ndarray,
        names: Sequence[str],
        *,
        digest: str,
        blocks: Sequence[str],
        forget: Callable[[], None],
        contents: np.ndarray | None = None,
    ) -> None:
        self._contents = contents
        self._path, self._blocks, self._forget = path, blocks, forget
        self._file = _map(path)
        self._start = len(self._file) - math.prod(shape)
        if self._start < 0 or len(blocks) != -(-len(self._file) // BLOCK_BYTES):
            self._refuse(0)
        super().__init__(self._file[self._start :].view(*shape), targets, names, digest=digest)
        self._unchecked = np.ones(len(blocks), dtype=bool)  # shared with all subsets
        if len(self._file) <= CHECKED_AT_ONCE:
            self._refuse(verify_blocks(path, blocks, BLOCK_BYTES))
            self._unchecked[:] = False

    @property
    def images(self) -> Tensor:
        self._check(np.arange(len(self)) if self._rows is None else self._rows)
        return super().images

    def batch(self, indices: np.ndarray) -> Tensor:
        rows = as_rows(indices, len(self))
        self._check(rows if self._rows is None else self._rows[rows])
        return super().batch(rows)

    def _item_digests(self) -> np.ndarray | None:
        return self._contents

    def _check(self, rows: np.ndarray) -> None:
        """Checks what has not been checked of the blocks that hold ``rows`` of the whole."""
        if not self._unchecked.any():
            return
        size = math.prod(self.shape)
        starts = self._start + rows * size
        steps = np.zeros(len(self._blocks) + 1, dtype=np.int64)
        np.add.at(steps, starts // BLOCK_BYTES, 1)
        np.add.at(steps, (starts + size - 1) // BLOCK_BYTES + 1, -1)
        wanted = np.flatnonzero((np.cumsum(steps[:-1]) > 0) & self._unchecked)
        with ThreadPoolExecutor(THREADS) as threads:
            is_sound = list(threads.map(self._is_sound, wanted.tolist()))
        damaged = wanted[~np.array(is_sound, dtype=bool)]
        if len(damaged):
            self._forget()
            self._refuse(int(damaged[0]))
        self._unchecked[wanted] = False

    def _is_sound(self, block: int) -> bool:
        content = self._file[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        return block_digest(content.numpy().data) == self._blocks[block]

    def _refuse(self, block: int | None) -> None:
        if block is not None:
            raise DamagedImages(
                f"{self._path} is damaged in block {block} of {len(self._blocks)}; "
                "start again, and it is made anew"
            )


def _map(path: Path) -> Tensor:
    """The bytes of a file. torch wants writable memory: a write stays in this process."""
    with path.open("rb") as file:
        if not hasattr(mmap, "MAP_NORESERVE"):
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        else:  # without this flag a file larger than the memory may be refused
            flags, prot = mmap.MAP_PRIVATE | mmap.MAP_NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            memory = mmap.mmap(file.fileno(), 0, flags=flags, prot=prot)
    return torch.frombuffer(memory, dtype=torch.uint8)
