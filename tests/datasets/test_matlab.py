"""MATLAB files: as scipy writes and reads them, and hostile ones."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from dal_toolbox.datasets import DatasetNotFound
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.matlab import read_matlab, read_structs

DTYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("do_compression", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 1), (2, 3, 4), (0, 3), (1, 5000)])
def test_arrays_are_read_as_scipy_does(tmp_path, do_compression, dtype, shape):
    file = tmp_path / "x.mat"
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    content = {
        "text": "other",
        "cells": np.array([[1, "a"]], object),
        "a": array,
        "long_name": array,
    }
    savemat(file, content, do_compression=do_compression)
    expected = loadmat(file)
    for name, found in read_matlab(file, {"a": 5000, "long_name": 5000}).items():
        assert found.dtype == expected[name].dtype
        assert found.shape == expected[name].shape
        assert (found == expected[name]).all()
        assert found.flags.writeable


def element(kind, content, order="<"):
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(
    content=None,
    *,
    shape=(2, 2),
    flags=9,
    order="<",
    stored=2,
    name=b"X",
    compress=False,
    length=None,
):
    """A file of one array, of uint8 by default."""
    content = bytes(range(4)) if content is None else content
    data = struct.pack(f"{order}II", stored, len(content) if length is None else length) + content
    parts = element(6, struct.pack(f"{order}II", flags, 0), order)
    parts += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    parts += element(1, name, order) + data + bytes(-len(data) % 8)
    whole = struct.pack(f"{order}II", 14, len(parts)) + parts
    if compress:
        packed = zlib.compress(whole)
        whole = struct.pack(f"{order}II", 15, len(packed)) + packed
    return (
        b"MATLAB 5.0".ljust(124)
        + struct.pack(f"{order}H", 0x100)
        + b"MI"[:: 1 if order == ">" else -1]
        + whole
    )


def read(path, content, largest=100):
    (path / "x.mat").write_bytes(content)
    return read_matlab(path / "x.mat", {"X": largest})["X"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compress", [False, True])
def test_both_byte_orders_and_narrow_storage(tmp_path, order, compress):
    options = {"order": order, "compress": compress}
    assert read(tmp_path, matrix(**options)).tolist() == [[0, 2], [1, 3]]
    doubles = read(
        tmp_path,
        matrix(np.array([1, 2, 3, 500], f"{order}u2").tobytes(), stored=4, flags=6, **options),
    )
    assert doubles.dtype.kind == "f"
    assert doubles.tolist() == [[1, 3], [2, 500]]


HOSTILE = {
    "nothing": b"",
    "a header": matrix()[:128],
    "text": b"text" * 100,
    "cut": matrix()[:-9],
    "cut and compressed": matrix(compress=True)[:-9],
    "a huge shape": matrix(shape=(2**31 - 1, 2**31 - 1)),
    "a large shape": matrix(shape=(1000, 1000)),
    "a negative shape": matrix(shape=(-2, -2)),
    "no shape": matrix(shape=()),
    "a hundred dimensions": matrix(shape=(1,) * 100),
    "a huge length": matrix(length=2**32 - 1),
    "another length": matrix(length=3),
    "cells": matrix(flags=1),
    "objects": matrix(flags=3),
    "sparse": matrix(flags=5),
    "complex": matrix(flags=9 | 0x800),
    "unknown numbers": matrix(stored=99),
    "text as numbers": matrix(stored=16),
    "a long name": matrix(name=b"X" * 10_000),
    "another name": matrix(name=b"Y"),
    "a bomb": matrix(bytes(50_000_000), shape=(10**7, 5), compress=True),
    "a bomb that hides its size": matrix(bytes(50_000_000), compress=True, length=4),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_named_in_little_memory(tmp_path, kind):
    tracemalloc.start()
    with pytest.raises(BadArchive, match=r"x\.mat is not the official file") as caught:
        read(tmp_path, HOSTILE[kind])
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compress", [False, True])
def test_any_change_of_a_byte_is_survived(tmp_path, compress):
    """A compressed array has a checksum: its content is right or refused."""
    content = matrix(compress=compress)
    for place in range(128, len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            try:
                array = read(tmp_path, bytes(damaged))
            except BadArchive as error:
                assert "\n" not in str(error)
            else:
                assert not compress or (array == [[0, 2], [1, 3]]).all()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetNotFound, match=r"x\.mat is missing"):
        read_matlab(tmp_path / "x.mat", {"X": 1})


FIELDS = ("number", "text")


def structs(*rows, dtype=("number", "text", "other")):
    return np.array(list(rows), dtype=[(name, object) for name in dtype])[:, None]


@pytest.mark.parametrize("do_compression", [False, True])
def test_structs_are_read_as_they_were_written(tmp_path, do_compression):
    rows = [
        (1, "tench, Tinca tinca", np.arange(5)),
        (2.5, "n\u00e9e", {"a": 1}),
        (np.int16(3), "", [1, "a"]),
    ]
    savemat(tmp_path / "x.mat", {"a": 1, "s": structs(*rows)}, do_compression=do_compression)
    found = read_structs(tmp_path / "x.mat", "s", FIELDS, 3)
    assert [(number.item(), text) for number, text in found] == [row[:2] for row in rows]
    with pytest.raises(BadArchive, match="wanted up to 2 elements"):
        read_structs(tmp_path / "x.mat", "s", FIELDS, 2)
    for name, fields in [("t", FIELDS), ("a", FIELDS), ("s", ("missing",))]:
        with pytest.raises(BadArchive, match=r"x\.mat is not the official file"):
            read_structs(tmp_path / "x.mat", name, fields, 3)


@pytest.mark.parametrize("do_compression", [False, True])
def test_any_damage_to_structs_is_survived(tmp_path, do_compression):
    file = tmp_path / "x.mat"
    savemat(file, {"s": structs((1, "one", 2), (2, "two", "x"))}, do_compression=do_compression)
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(content)
        for place in rng.integers(128, len(content), 3):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            read_structs(file, "s", FIELDS, 10)
        except BadArchive as error:
            assert "\n" not in str(error)


def test_deep_nesting_is_not_followed(tmp_path):
    """Cells in cells, a hundred thousand deep, crash scipy."""
    head = (
        element(6, struct.pack("<II", 1, 0))
        + element(5, struct.pack("<ii", 1, 1))
        + element(1, b"")
    )
    length, parts = 0, []
    for _ in range(100_000):
        parts.append(struct.pack("<II", 14, length + len(head)) + head)
        length += len(parts[-1])
    head = element(6, struct.pack("<II", 2, 0)) + element(5, struct.pack("<ii", 1, 1))
    head += (
        element(1, b"s") + element(5, struct.pack("<i", 8)) + element(1, b"number\0\0text\0\0\0\0")
    )
    content = head + b"".join(reversed(parts))
    whole = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x100) + b"IM" + element(14, content)
    (tmp_path / "x.mat").write_bytes(whole)
    with pytest.raises(BadArchive, match="a field is no small array"):
        read_structs(tmp_path / "x.mat", "s", FIELDS, 10)
