import os
import shutil

import numpy as np
import pytest

from dal_toolbox.datasets import ImageFiles, _stamps
from dal_toolbox.datasets._stamps import content_digests, file_stamps


@pytest.fixture
def names(tmp_path):
    for row in range(25):
        (tmp_path / f"{row}.jpg").write_bytes(bytes(row))
        os.utime(tmp_path / f"{row}.jpg", ns=(0, 10**18 + row))
    return [f"{row}.jpg" for row in range(25)]


@pytest.mark.parametrize("slow", [0, 1])
@pytest.mark.parametrize("many", [3, 100])
def test_size_and_time_of_each_file(tmp_path, names, monkeypatch, slow, many):
    monkeypatch.setattr(_stamps, "CHUNK", 4)
    monkeypatch.setattr(_stamps, "SLOW", slow)
    monkeypatch.setattr(_stamps, "MANY", many)
    rows = np.arange(25)
    stamps = file_stamps(tmp_path, names)
    assert (stamps[:, :2] == np.stack([rows, 10**18 + rows], axis=1)).all()
    assert (stamps[:, 2] > 10**18).all()
    assert file_stamps(tmp_path, []).shape == (0, 3)


def test_missing_files(tmp_path, names):
    with pytest.raises(FileNotFoundError):
        file_stamps(tmp_path, [*names, "none.jpg"])
    stamps = file_stamps(tmp_path, ["none.jpg", *names], missing_ok=True)
    assert stamps[0].tolist() == [-1, -1, -1]
    assert (stamps[1:, 0] == np.arange(25)).all()


def replace_content(path, content):
    """As ``cp -p`` does: size and modification time are those of before."""
    status = path.stat()
    assert status.st_size == len(content)
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def alike(tmp_path):
    """Files of one size and one time, in two folders."""
    for row in range(10):
        path = tmp_path / "images" / "ab"[row % 2] / f"{row // 2}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([row]) * 50_000)
        os.utime(path, ns=(0, 10**18))
    return tmp_path / "images"


def fingerprint(root, cache_dir=None):
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.bmp"))
    targets = np.array(["ab".index(name[0]) for name in names])
    return ImageFiles(root, names, targets, 8, cache_dir=cache_dir).fingerprint


@pytest.mark.parametrize("kept", [1, 1000])
@pytest.mark.parametrize("change", ["start", "middle", "end", "swapped files", "swapped folders"])
def test_other_content_of_equal_size_and_time_is_noticed(
    alike, tmp_path, monkeypatch, kept, change
):
    monkeypatch.setattr(_stamps, "KEPT", kept)
    before = fingerprint(alike, tmp_path / "cache")
    assert fingerprint(alike, tmp_path / "cache") == before == fingerprint(alike)
    if change == "swapped files":
        swap(alike / "a/0.bmp", alike / "b/0.bmp")
    elif change == "swapped folders":
        swap(alike / "a", alike / "b")
    else:
        content = bytearray(50_000)
        place = {
            "start": slice(0, 4096),
            "middle": slice(22_000, 28_000),
            "end": slice(-4096, None),
        }
        content[place[change]] = b"\1" * len(content[place[change]])
        replace_content(alike / "a/0.bmp", bytes(content))
    assert fingerprint(alike, tmp_path / "cache") != before
    assert fingerprint(alike, tmp_path / "cache") == fingerprint(alike)


def swap(one, other):
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def test_known_files_are_not_read_again(alike, tmp_path, monkeypatch):
    monkeypatch.setattr(_stamps, "KEPT", 1)
    before = fingerprint(alike, tmp_path / "cache")
    monkeypatch.setattr(_stamps, "_sample", None)
    assert fingerprint(alike, tmp_path / "cache") == before


@pytest.mark.parametrize("content", [b"", b"no array", bytes(500)])
def test_a_damaged_cache_is_made_anew(alike, tmp_path, monkeypatch, content):
    monkeypatch.setattr(_stamps, "KEPT", 1)
    before = fingerprint(alike, tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.npy")
    whole = file.read_bytes()
    file.write_bytes(content)
    assert fingerprint(alike, tmp_path / "cache") == before
    assert file.read_bytes() == whole


def test_a_copy_has_the_fingerprint_of_its_original(alike, tmp_path, monkeypatch):
    monkeypatch.setattr(_stamps, "KEPT", 1)
    before = fingerprint(alike, tmp_path / "cache")
    shutil.copytree(alike, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy", tmp_path / "cache") == before


def test_files_that_cannot_be_read_have_no_digest(tmp_path, names):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    wanted = ["none.jpg", "pipe.jpg", "folder.jpg", *names]
    stamps = file_stamps(tmp_path, wanted, missing_ok=True)
    digests = content_digests(tmp_path, wanted, stamps)
    assert digests[:3].tolist() == [0, 0, 0]
    assert len(set(digests[3:].tolist())) == 25
