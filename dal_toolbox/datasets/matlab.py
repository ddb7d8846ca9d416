"""Numeric arrays of MATLAB files (version 5 and later, not 7.3), in bounded memory.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. ``scipy.io`` reads
all of it, but takes as much memory as the file asks for.
"""

import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from dal_toolbox.datasets._unpack import BadArchive, one_line
from dal_toolbox.datasets.base import DatasetNotFound

HEADER_BYTES = 128
READ_BYTES = 2**20
MATRIX, COMPRESSED = 14, 15
# How numbers are stored, and the classes of arrays: large numbers are often stored as small ones.
STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
CLASSES = dict(
    zip(range(6, 16), ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"], strict=True)
)
COMPLEX = 0x800


def read_matlab(file: Path, largest: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Real numeric arrays by name.

    Args:
        file: The file.
        largest: Names of the arrays that are wanted, and how many elements each may have.

    Raises:
        DatasetNotFound: The file is missing.
        BadArchive: It is no such file, is damaged, lacks an array, or has a larger one.
    """
    if not file.is_file():
        raise DatasetNotFound(f"{file} is missing; put the official file there")
    try:
        with file.open("rb") as stream:
            arrays = _read(stream, file.stat().st_size, largest)
    except (ValueError, struct.error, zlib.error) as error:
        raise _unexpected(file, one_line(error)) from error
    if missing := [name for name in largest if name not in arrays]:
        raise _unexpected(file, f"it has no {', '.join(missing)}")
    return arrays


def _read(stream: IO[bytes], size: int, largest: Mapping[str, int]) -> dict[str, np.ndarray]:
    header = stream.read(HEADER_BYTES)
    order = {b"IM": "<", b"MI": ">"}.get(header[HEADER_BYTES - 2 :])
    if order is None:
        raise ValueError("it does not begin as a MATLAB file")
    arrays = {}
    while (start := stream.tell()) < size:
        kind, length = struct.unpack(f"{order}II", stream.read(8))
        body = _Inflated(stream, length) if kind == COMPRESSED else _Plain(stream, length)
        if kind == COMPRESSED:
            kind, _ = struct.unpack(f"{order}II", body.read(8))
        if kind == MATRIX:
            name, array = _matrix(body, order, largest)
            if array is not None:
                arrays[name] = array
        stream.seek(start + 8 + length)
    return arrays


class _Plain:
    """The bytes of an element."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self.stream, self.left = stream, length

    def read(self, length: int) -> bytearray:
        """Exactly so many bytes.

        Raises:
            ValueError: There are fewer.
        """
        content = bytearray()
        while len(content) < length and (block := self._block(length - len(content))):
            content += block
        if len(content) < length:
            raise ValueError("it ends too early")
        return content

    def finish(self) -> None:
        """Checks what can be checked at the end."""

    def _block(self, most: int) -> bytes:
        block = self.stream.read(min(most, self.left, READ_BYTES))
        self.left -= len(block)
        return block


class _Inflated(_Plain):
    """The bytes of a compressed element, inflated as far as they are asked for."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        super().__init__(stream, length)
        self.decoder = zlib.decompressobj()

    def finish(self) -> None:
        """Reads the padding and the checksum behind it."""
        if len(self._block(8)) == 8 or not self.decoder.eof:
            raise ValueError("it is longer than it says, or ends too early")

    def _block(self, most: int) -> bytes:
        inflated = b""
        while not inflated and not self.decoder.eof:
            block = self.decoder.unconsumed_tail or super()._block(READ_BYTES)
            if not block:
                break
            inflated = self.decoder.decompress(block, most)
        return inflated


def _matrix(body: _Plain, order: str, largest: Mapping[str, int]) -> tuple[str, np.ndarray | None]:
    """Name and content of an array; no content if it is not wanted."""
    flags = struct.unpack(f"{order}II", _element(body, order, 8))[0]
    shape = np.frombuffer(_element(body, order, 4 * 32), f"{order}i4").tolist()
    name = _element(body, order, 63 + 1).decode("latin-1")
    if name not in largest:
        return name, None
    kind, number = CLASSES.get(flags & 0xFF), math.prod(shape)
    if kind is None or flags & COMPLEX:
        raise ValueError(f"{name} is no array of real numbers")
    if min(shape, default=-1) < 0 or number > largest[name]:
        raise ValueError(
            f"{name} has the shape {tuple(shape)}; wanted up to {largest[name]} numbers"
        )
    content, stored = _numbers(body, order, number)
    body.finish()
    array = np.frombuffer(content, stored).reshape(shape, order="F")
    return name, array.astype(f"{order}{kind}", copy=False)


def _numbers(body: _Plain, order: str, number: int) -> tuple[bytearray, np.dtype]:
    kind, length, content = _tag(body, order)
    if kind not in STORED:
        raise ValueError(f"numbers are stored in an unknown way ({kind})")
    dtype = np.dtype(f"{order}{STORED[kind]}")
    if length != number * dtype.itemsize:
        raise ValueError(f"{length} bytes are said to hold {number} numbers of type {dtype}")
    return body.read(length) if content is None else content, dtype


def _element(body: _Plain, order: str, most: int) -> bytearray:
    _, length, content = _tag(body, order)
    if length > most:
        raise ValueError(f"{length} bytes where at most {most} are known")
    if content is None:
        content = body.read(length)
        body.read(-length % 8)  # padding
    return content


def _tag(body: _Plain, order: str) -> tuple[int, int, bytearray | None]:
    """Type and length of what follows; up to four bytes lie in the tag itself."""
    tag = body.read(8)
    word, length = struct.unpack(f"{order}II", tag)
    if word >> 16:
        return word & 0xFFFF, word >> 16, tag[4 : 4 + (word >> 16)]
    return word, length, None


def _unexpected(file: Path, reason: str) -> BadArchive:
    return BadArchive(f"{file} is not the official file ({reason}); delete it and start again")
