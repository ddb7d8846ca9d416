"""The idx format of MNIST (LeCun et al., 1998, http://yann.lecun.com/exdb/mnist)."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from dal_toolbox.datasets._unpack import BadArchive, one_line

UINT8 = 0x08  # the type of elements, the only one here


def read_idx(file: Path, num_dimensions: int) -> np.ndarray:
    """Reads an array of uint8 from an idx file, compressed with gzip where its name says so.

    The head: two zero bytes, the type, the number of dimensions, and each length in four bytes,
    big-endian.

    Raises:
        BadArchive: It is no idx file of uint8 with that many dimensions, or not complete.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unexpected(file, one_line(error)) from error
    magic, start = bytes([0, 0, UINT8, num_dimensions]), 4 + 4 * num_dimensions
    if content[:4] != magic:
        raise _unexpected(file, f"starts with {content[:4].hex()}; wanted {magic.hex()}")
    if len(content) < start:
        raise _unexpected(file, f"ends after {len(content)} bytes")
    shape = np.frombuffer(content, ">u4", num_dimensions, offset=4).tolist()
    if len(content) - start != math.prod(shape):
        raise _unexpected(file, f"{len(content) - start} bytes for an array of shape {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # writable


def _unexpected(file: Path, reason: str) -> BadArchive:
    return BadArchive(f"{file} is no official idx file ({reason}); delete it and start again")
