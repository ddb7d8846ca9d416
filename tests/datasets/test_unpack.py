"""Archives that want to write elsewhere, and damaged ones."""

import errno
import gzip
import io
import shutil
import stat
import tarfile
import tracemalloc
import zipfile
from collections import namedtuple

import numpy as np
import pytest

from dal_toolbox.datasets import _unpack
from dal_toolbox.datasets._unpack import BadArchive, extract, unpack

FILES = {"data/a.txt": b"first", "data/deep/b.txt": b"second"}


def write_zip(path, files, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)


def write_tar(path, files, mode="w:gz", **facts):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in facts.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz", "data.tgz", "data.tar"])
def test_unpack(tmp_path, name):
    file = tmp_path / name
    if name.endswith("zip"):
        write_zip(file, FILES)
    else:
        write_tar(file, FILES, "w" if name == "data.tar" else "w:gz")
    unpack(file, tmp_path / "data")
    found = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files_in(tmp_path)
    }
    assert found == FILES
    assert {path.name for path in tmp_path.iterdir()} == {name, "data"}


def files_in(root):
    return [path for path in (root / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["../evil", "/evil", "data/../../evil", "..\\evil"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_written_elsewhere(tmp_path, kind, name):
    file, folder = tmp_path / f"x.{kind}", tmp_path / "a/b"
    folder.mkdir(parents=True)
    (write_zip if kind == "zip" else write_tar)(file, {name: b"evil"})
    with pytest.raises(BadArchive, match="leads out of its folder") as caught:
        extract(file, folder)
    assert "\n" not in str(caught.value)
    assert not any(folder.iterdir())
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_a_tar_are_refused(tmp_path, type_):
    write_tar(tmp_path / "x.tar", {"data/link": b""}, type=type_, linkname="/etc/passwd")
    with pytest.raises(BadArchive, match="is a link or a device"):
        extract(tmp_path / "x.tar", tmp_path / "goal")


def test_links_in_a_zip_are_refused(tmp_path):
    write_zip(tmp_path / "x.zip", {"data/link": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    with pytest.raises(BadArchive, match="is a link or a device"):
        extract(tmp_path / "x.zip", tmp_path / "goal")


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_damaged_archives_are_named(tmp_path, name, damage):
    file = tmp_path / name
    content = {"data/file": bytes(range(256)) * 40}
    if name.endswith("zip"):
        write_zip(file, content)
    else:
        write_tar(file, content, "w" if name == "x.tar" else "w:gz")
    raw = bytearray(file.read_bytes())
    raw[100] ^= 255
    damaged = {"cut": bytes(raw[:150]), "empty": b"", "text": b"hello" * 100, "flipped": raw}
    file.write_bytes(damaged[damage])
    with pytest.raises(BadArchive) as caught:
        unpack(file, tmp_path / "data")
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_many_members_are_not_kept_in_memory(tmp_path):
    names = {f"data/{number}": b"" for number in range(50)}
    write_tar(tmp_path / "x.tar", names, "w")
    unpack(tmp_path / "x.tar", tmp_path / "data")
    assert len(list((tmp_path / "data").iterdir())) == 50  # no checksums of so many


@pytest.mark.parametrize("name", ["data.tar.bz2", "data.tar.xz"])
def test_other_compressions(tmp_path, name):
    write_tar(tmp_path / name, FILES, f"w:{name[-3:].strip('.')}")
    unpack(tmp_path / name, tmp_path / "data")
    assert (tmp_path / "data/deep/b.txt").read_bytes() == b"second"


def tar_header(name, size, kind=b"0"):
    """A header with any size, also one that tarfile would not write."""
    info = tarfile.TarInfo(name)
    info.type = kind
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = (b"\x80" if size >= 0 else b"\xff") + size.to_bytes(11, "big", signed=True)
    return with_checksum(raw)


def with_checksum(header):
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def sparse_header():
    header = bytearray(tar_header("data/x", 0, b"S"))
    header[483:495] = b"\x80" + (2**50).to_bytes(11, "big")  # its real size
    return with_checksum(header)


ZEROS = bytes(3_000_000)
HEADER_BOMB = bytes(40_000_000)
BOMBS = {
    "one file.zip": {"data/zeros": ZEROS},
    "many files.zip": {f"data/{number}": ZEROS[:200_000] for number in range(15)},
    "one file.tar.gz": {"data/zeros": ZEROS},
    "empty files.tar.gz": {f"data/{number}": b"" for number in range(600)},
    "deep folders.tar.gz": {"data/" + "a/" * 1500 + "x": b""},
    "deep folders.zip": {"data/" + "a/" * 1500 + "x": b""},
    "a huge size.tar": tar_header("data/x", 2**60) + bytes(10_000),
    "a long name.tar.gz": tar_header("x", len(HEADER_BOMB), b"L") + HEADER_BOMB,
    "a long link.tar.gz": tar_header("x", len(HEADER_BOMB), b"K") + HEADER_BOMB,
    "pax headers.tar.gz": tar_header("x", len(HEADER_BOMB), b"x") + HEADER_BOMB,
    "global pax headers.tar.gz": tar_header("x", len(HEADER_BOMB), b"g") + HEADER_BOMB,
    "a negative size.tar": tar_header("data/x", -512) + bytes(1024),
    "a negative name.tar": tar_header("data/x", -512, b"L") + bytes(1024),
    "a sparse file.tar": sparse_header() + bytes(1024),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_leave_nothing_behind(tmp_path, name, monkeypatch):
    monkeypatch.setattr(_unpack, "FLOOR", 2_000_000)
    file, content = tmp_path / name, BOMBS[name]
    if isinstance(content, dict):
        (write_zip if name.endswith("zip") else write_tar)(file, content)
    else:
        file.write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    tracemalloc.start()
    with pytest.raises(BadArchive, match="cannot be unpacked") as caught:
        unpack(file, tmp_path / "data")
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_what_has_no_room_is_not_written(tmp_path, monkeypatch, kind):
    usage = namedtuple("usage", "total used free")(100, 90, 10_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    (write_zip if kind == "zip" else write_tar)(tmp_path / f"x.{kind}", {"data/x": bytes(10_001)})
    with pytest.raises(OSError, match="are too little") as caught:
        unpack(tmp_path / f"x.{kind}", tmp_path / "data")
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == [f"x.{kind}"]


def test_what_a_killed_call_left_is_removed(tmp_path):
    write_zip(tmp_path / "data.zip", FILES)
    (tmp_path / ".data.abc/data").mkdir(parents=True)
    unpack(tmp_path / "data.zip", tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {"data.zip", "data"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_any_damage_is_named(tmp_path, name):
    file, rng = tmp_path / name, np.random.default_rng(0)
    if name.endswith("zip"):
        write_zip(file, FILES)
    else:
        write_tar(file, FILES, f"w:{file.suffix[1:].replace('tar', '')}")
    content = file.read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=3):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            unpack(file, tmp_path / "data")
        except BadArchive as error:
            assert str(error).startswith(str(file))
            assert "\n" not in str(error)
        else:
            shutil.rmtree(tmp_path / "data")
        assert [path.name for path in tmp_path.iterdir()] == [name]
