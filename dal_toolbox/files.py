"""Directories that are there in full or not at all, and arrays mapped from them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A temporary directory that takes the place of ``path`` once the block ends well.

    What a killed process leaves behind is named ``.<name>.<random>`` and never read;
    :func:`remove_leftovers` clears it away.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            path.rename(path.with_name(f"{temporary.name}.old"))
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(path.with_name(f"{temporary.name}.old"), ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Removes what killed writers of ``path`` left; only for a caller that no other can join."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)


def load_array(path: Path) -> Tensor:
    """The array of a ``.npy`` file, memory-mapped; writing to it never reaches the file.

    Raises:
        OSError: The file is missing.
        ValueError: The file is no array, or shorter than its header says.
    """
    if path.stat().st_size == 0:  # numpy: EOFError
        raise ValueError(f"{path} is empty")
    # Copy-on-write: torch warns of arrays that cannot be written to.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
