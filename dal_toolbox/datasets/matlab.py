"""Arrays of MATLAB files (version 5 and later, not 7.3), in bounded memory.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. ``scipy.io`` reads
all of it, but takes as much memory as the file asks for, and nesting can crash it.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
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
STRUCT, TEXT = 2, 4
UTF8 = 16
TEXTS = {1: "i1", 2: "u1", UTF8: "u1", 4: "u2", 17: "u2"}
FIELD_BYTES = 2**16  # that a field of a struct may have


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
    arrays = {}
    with _readable(file):
        for name, matrix in _matrices(file):
            if name in largest:
                arrays[name] = matrix.numbers(largest[name])
        if missing := [name for name in largest if name not in arrays]:
            raise ValueError(f"it has no {', '.join(missing)}")
    return arrays


def read_structs(file: Path, name: str, fields: Sequence[str], most: int) -> list[tuple]:
    """Fields of an array of structs: numbers as arrays, text as ``str``.

    Args:
        file: The file.
        name: Name of the array.
        fields: Which fields.
        most: How many structs there may be.

    Raises:
        DatasetNotFound: The file is missing.
        BadArchive: It is no such file, is damaged, lacks a field, or has more structs.
    """
    with _readable(file):
        for found, matrix in _matrices(file):
            if found == name:
                return matrix.structs(fields, most)
        raise ValueError(f"it has no {name}")


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Names the file in whatever goes wrong."""
    if not file.is_file():
        raise DatasetNotFound(f"{file} is missing; put the official file there")
    try:
        yield
    except (ValueError, struct.error, zlib.error) as error:
        raise BadArchive(
            f"{file} is not the official file ({one_line(error)}); delete it and start again"
        ) from error


def _matrices(file: Path) -> Iterator[tuple[str, "_Matrix"]]:
    """Names and heads of the arrays of a file; their content is read when it is asked for."""
    with file.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
        order = {b"IM": "<", b"MI": ">"}.get(header[HEADER_BYTES - 2 :])
        if order is None:
            raise ValueError("it does not begin as a MATLAB file")
        while (start := stream.tell()) < file.stat().st_size:
            kind, length = struct.unpack(f"{order}II", stream.read(8))
            body = _Inflated(stream, length) if kind == COMPRESSED else _Plain(stream, length)
            if kind == COMPRESSED:
                kind, _ = struct.unpack(f"{order}II", body.read(8))
            if kind == MATRIX:
                matrix = _Matrix(body, order)
                yield matrix.name, matrix
            stream.seek(start + 8 + length)


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


class _Matrix:
    """An array of which the head has been read.

    Args:
        body: Where its bytes come from.
        order: Byte order, as numpy writes it.
    """

    def __init__(self, body: _Plain, order: str) -> None:
        self.body, self.order = body, order
        flags = struct.unpack(f"{order}II", self._element(8))[0]
        self.kind, self.is_complex = flags & 0xFF, bool(flags & COMPLEX)
        self.shape = np.frombuffer(self._element(4 * 32), f"{order}i4").tolist()
        self.name = self._element(64).decode("latin-1")

    def numbers(self, most: int) -> np.ndarray:
        """The content of an array of real numbers."""
        if self.kind not in CLASSES or self.is_complex:
            raise ValueError(f"{self.name} is no array of real numbers")
        content, stored = self._stored(self._size(most), STORED)
        self.body.finish()
        array = np.frombuffer(content, stored).reshape(self.shape, order="F")
        return array.astype(f"{self.order}{CLASSES[self.kind]}", copy=False)

    def text(self, most: int) -> str:
        """The content of an array of characters."""
        if self.kind != TEXT:
            raise ValueError(f"{self.name} is no text")
        content, stored = self._stored(self._size(most), TEXTS)
        encoding = "utf-8" if stored.itemsize == 1 else f"utf-16-{'lb'[self.order == '>']}e"
        return content.decode(encoding)

    def structs(self, fields: Sequence[str], most: int) -> list[tuple]:
        """The named fields of each struct."""
        if self.kind != STRUCT:
            raise ValueError(f"{self.name} is no array of structs")
        number = self._size(most)
        width = struct.unpack(f"{self.order}i", self._element(4))[0]
        names = self._element(64 * 100)
        if not 0 < width <= 64 or len(names) % width:
            raise ValueError("names of fields are damaged")
        names_of = [
            names[i : i + width].split(b"\0")[0].decode() for i in range(0, len(names), width)
        ]
        if missing := [name for name in fields if name not in names_of]:
            raise ValueError(f"it has no {', '.join(missing)}")
        rows = [{name: self._field() for name in names_of} for _ in range(number)]
        self.body.finish()
        return [tuple(row[name] for name in fields) for row in rows]

    def _field(self) -> np.ndarray | str | None:
        """A field that is text or numbers; None for any other, which are not looked into."""
        kind, length, content = self._tag()
        if kind != MATRIX or content is not None or length > FIELD_BYTES:
            raise ValueError("a field is no small array")
        if not length:
            return None
        field = _Matrix(_Plain(BytesIO(self.body.read(length)), length), self.order)
        if field.kind == TEXT:
            return field.text(FIELD_BYTES)
        return field.numbers(FIELD_BYTES) if field.kind in CLASSES else None

    def _size(self, most: int) -> int:
        number = math.prod(self.shape)
        if min(self.shape, default=-1) < 0 or number > most:
            shape = tuple(self.shape)
            raise ValueError(f"{self.name} has the shape {shape}; wanted up to {most} elements")
        return number

    def _stored(self, number: int, known: Mapping[int, str]) -> tuple[bytearray, np.dtype]:
        """Bytes of numbers or characters, and how these are stored."""
        kind, length, content = self._tag()
        if kind not in known:
            raise ValueError(f"elements are stored in an unknown way ({kind})")
        dtype = np.dtype(f"{self.order}{known[kind]}")
        is_sound = length == number * dtype.itemsize
        if not is_sound and not (kind == UTF8 and length <= 4 * number):
            raise ValueError(f"{length} bytes are said to hold {number} elements of type {dtype}")
        return self.body.read(length) if content is None else content, dtype

    def _element(self, most: int) -> bytearray:
        _, length, content = self._tag()
        if length > most:
            raise ValueError(f"{length} bytes where at most {most} are known")
        if content is None:
            content = self.body.read(length)
            self.body.read(-length % 8)  # padding
        return content

    def _tag(self) -> tuple[int, int, bytearray | None]:
        """Type and length of what follows; up to four bytes lie in the tag itself."""
        tag = self.body.read(8)
        word, length = struct.unpack(f"{self.order}II", tag)
        if word >> 16:
            return word & 0xFFFF, word >> 16, tag[4 : 4 + (word >> 16)]
        return word, length, None
