"""The idx format of MNIST (LeCun et al., 1998, http://yann.lecun.com/exdb/mnist)."""

import gzip
import math
import zlib
from functools import partial
from pathlib import Path
from typing import IO, cast

import numpy as np

from dal_toolbox.datasets._unpack import BadArchive, one_line

UINT8 = 0x08  # the type of elements, the only one here
MAX_BYTES = 2**26  # the training images of MNIST take 47 MB
READ_BYTES = 2**20


def read_idx(file: Path, num_dimensions: int) -> np.ndarray:
    """Reads an array of uint8 from an idx file, compressed with gzip where its name says so.

    The head: two zero bytes, the type, the number of dimensions, and each length in four bytes,
    big-endian.

    Raises:
        BadArchive: It is no idx file of uint8 with that many dimensions, or not complete.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            return _read(cast(IO[bytes], stream), num_dimensions)
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise _unexpected(file, one_line(error)) from error


def _read(stream: IO[bytes], num_dimensions: int) -> np.ndarray:
    magic, found = bytes([0, 0, UINT8, num_dimensions]), stream.read(4)
    if found != magic:
        raise ValueError(f"starts with {found.hex()}; wanted {magic.hex()}")
    lengths = stream.read(4 * num_dimensions)
    if len(lengths) < 4 * num_dimensions:
        raise ValueError("ends within its head")
    shape = np.frombuffer(lengths, ">u4").tolist()
    if math.prod(shape) > MAX_BYTES:
        raise ValueError(f"an array of shape {shape} is larger than any official one")
    array, filled = np.empty(math.prod(shape), np.uint8), 0
    for block in iter(
        partial(stream.read, READ_BYTES), b""
    ):  # to the end: gzip has a checksum there
        if filled + len(block) > len(array):
            raise ValueError(f"more bytes than an array of shape {shape} has")
        array[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    if filled < len(array):
        raise ValueError(f"{filled} bytes for an array of shape {shape}")
    return array.reshape(shape)


def _unexpected(file: Path, reason: str) -> BadArchive:
    return BadArchive(f"{file} is no official idx file ({reason}); delete it and start again")
