"""Archives that want to write elsewhere, and damaged ones."""

import io
import stat
import tarfile
import zipfile

import pytest

from dal_toolbox.datasets._unpack import BadArchive, extract, unpack

FILES = {"data/a.txt": b"first", "data/deep/b.txt": b"second"}


def write_zip(path, files, mode=stat.S_IFREG | 0o644):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
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
    assert len(list((tmp_path / "data").iterdir())) == 50
