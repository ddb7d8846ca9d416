import errno
import json
import logging
import os
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from dal_toolbox.datasets import ImageFiles, ImageLoader
from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets._pack_file import Part
from dal_toolbox.datasets._sealed import read_sealed, write_sealed
from dal_toolbox.datasets._statistics import channel_statistics
from dal_toolbox.datasets.mapped import DamagedImages
from dal_toolbox.datasets.packing import CannotPack, DiskFull, pack
from dal_toolbox.datasets.residency import resident
from dal_toolbox.io import block_digest


@pytest.fixture
def files(class_folders):
    return open_files(class_folders)


def open_files(root, image_size=8):
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return ImageFiles(root, names, np.arange(len(names)) // 10, image_size)


def break_unseen(path):
    """Replaces the content but keeps size and time: only decoding can tell."""
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_pack_equals_decoding(files, tmp_path, num_workers):
    packed = pack(files, tmp_path / "packed", num_workers=num_workers)
    assert torch.equal(packed.images, files.batch(np.arange(15)))
    assert packed.names == files.names
    assert (packed.targets == files.targets).all()
    assert packed.shape == files.shape
    stored = np.load(tmp_path / "packed" / files.fingerprint / "images.npy")
    assert (stored == packed.images.numpy()).all()


def test_second_open_decodes_nothing(files, tmp_path, monkeypatch):
    first = pack(files, tmp_path)
    monkeypatch.setattr("dal_toolbox.datasets._decode.decode", None)
    second = pack(open_files(files.root), tmp_path)
    assert torch.equal(second.images, first.images)
    assert second.fingerprint == first.fingerprint


def test_fingerprints_change_with_the_files(files, write_image, tmp_path):
    prints = [files.fingerprint, open_files(files.root, image_size=9).fingerprint]
    write_image(files.root / "cat/00.png", 99)
    os.utime(files.root / "cat/00.png", ns=(0, 0))
    prints.append(open_files(files.root).fingerprint)
    (files.root / "cat/00.png").rename(files.root / "cat/0.png")
    prints.append(open_files(files.root).fingerprint)
    assert len(set(prints)) == 4
    assert torch.equal(
        pack(open_files(files.root), tmp_path).images[0], files_batch(files, "0.png")
    )


def files_batch(files, name):
    return ImageFiles(files.root / "cat", [name], np.array([0]), 8).batch(np.array([0]))[0]


def test_fingerprint_of_the_pack_is_of_its_content(files, tmp_path):
    before = pack(files, tmp_path)
    os.utime(files.root / "cat/00.png", ns=(0, 0))  # another pack, the same pixels
    after = pack(open_files(files.root), tmp_path)
    assert len(list(tmp_path.glob("*/manifest.json"))) == 2
    assert after.fingerprint == before.fingerprint


class Killed(BaseException):
    pass


@pytest.fixture
def interrupted(files, tmp_path, monkeypatch):
    """Packs all but the last chunk of two images, of fifteen."""
    monkeypatch.setattr("dal_toolbox.datasets.packing.CHUNK_BYTES", 2 * 3 * 8 * 8)
    batch = files.batch

    def fails_late(indices):
        if indices[0] == 14:
            raise Killed
        return batch(indices)

    monkeypatch.setattr(files, "batch", fails_late)
    with pytest.raises(Killed):
        pack(files, tmp_path / "packed")
    monkeypatch.setattr(files, "batch", batch)
    return tmp_path / "packed" / files.fingerprint


def test_an_interrupted_pack_goes_on(files, tmp_path, interrupted):
    expected = files.batch(np.arange(15))
    whole = pack(files, tmp_path / "whole")
    for name in files.names[:14]:
        break_unseen(files.root / name)  # these must not be decoded again
    resumed = pack(files, tmp_path / "packed")
    assert torch.equal(resumed.images, expected)
    assert resumed.fingerprint == whole.fingerprint
    assert sorted(path.name for path in interrupted.iterdir()) == ["images.npy", "manifest.json"]


@pytest.mark.parametrize("place", [0, 5, 128, 128 + 5 * 3 * 8 * 8, -1])
def test_what_was_damaged_in_a_break_is_packed_anew(files, interrupted, place):
    """A crash of the machine may lose what was written last, or leave zeros for it."""
    part = interrupted / "images.npy.part"
    content = bytearray(part.read_bytes())
    content[place] ^= 255
    part.write_bytes(content)
    assert torch.equal(pack(files, interrupted.parent).images, files.batch(np.arange(15)))


@pytest.mark.parametrize("file", ["images.npy.part", "journal.jsonl.part"])
@pytest.mark.parametrize("length", [0, 5, 130, 1000, -1, None])
def test_a_break_may_leave_any_length(files, interrupted, file, length):
    path = interrupted / file
    if length is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:length])
    assert torch.equal(pack(files, interrupted.parent).images, files.batch(np.arange(15)))


@pytest.mark.parametrize("line", [b"\0" * 50, b"[]", b"5", b'{"images": -3}', b"[" * 10_000])
def test_a_break_may_leave_any_journal(files, interrupted, line):
    journal = interrupted / "journal.jsonl.part"
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*lines[:3], line, *lines[3:]]))
    assert torch.equal(pack(files, interrupted.parent).images, files.batch(np.arange(15)))


def test_a_damaged_pack_is_made_anew(files, tmp_path):
    pack(files, tmp_path)
    file = tmp_path / files.fingerprint / "images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))


@pytest.mark.parametrize("place", [0, 60, 128, 1500, -1])
def test_a_changed_byte_is_noticed(files, tmp_path, place, caplog):
    pack(files, tmp_path)
    file = tmp_path / files.fingerprint / "images.npy"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))
    assert "is damaged; the images are packed anew" in caplog.text
    assert "images.npy is damaged in block 0 of 1" in caplog.text
    assert np.array_equal(np.load(file), files.batch(np.arange(15)).numpy())


@pytest.fixture
def large(monkeypatch):
    """Packs are large: checked block by block when they are read; a block holds some five images."""
    for module in ("mapped", "packing"):
        monkeypatch.setattr(f"dal_toolbox.datasets.{module}.BLOCK_BYTES", 1000)
    monkeypatch.setattr("dal_toolbox.datasets.mapped.CHECKED_AT_ONCE", 0)


@pytest.mark.parametrize("row", range(15))
def test_a_large_pack_is_checked_where_it_is_read(files, tmp_path, large, row):
    images, expected = pack(files, tmp_path), files.batch(np.arange(15))
    manifest = tmp_path / files.fingerprint / "manifest.json"
    file = manifest.with_name("images.npy")
    content = bytearray(file.read_bytes())
    place = 128 + row * 3 * 8 * 8 + 100
    content[place] = content[place] ^ 4
    file.write_bytes(content)
    images = pack(files, tmp_path)
    sound = [i for i in range(15) if (128 + i * 192) // 1000 > place // 1000]
    sound += [i for i in range(15) if (128 + i * 192 + 191) // 1000 < place // 1000]
    for rows in (np.array(sound), np.array(sound[::-1])):
        assert torch.equal(images.batch(rows), expected[rows])
        assert torch.equal(images.subset(rows).batch(np.arange(len(rows))), expected[rows])
    way = [
        lambda: images.batch(np.array([row])),
        lambda: images.images,
        lambda: images.subset(np.array([row])).images,
        lambda: images.subset(np.arange(15)).subset(np.array([row])).batch(np.array([0])),
        lambda: resident(images, "memory"),
        lambda: list(ImageLoader(images, 4, shuffle=True)),
        lambda: channel_statistics(images),
    ][row % 7]
    assert manifest.exists()
    with pytest.raises(DamagedImages, match=r"images.npy is damaged in block \d of 4; start again"):
        way()
    assert not manifest.exists()
    assert torch.equal(pack(files, tmp_path).batch(np.arange(15)), expected)


def test_a_block_is_checked_once(files, tmp_path, large, monkeypatch):
    images, asked = pack(files, tmp_path), []
    monkeypatch.setattr(
        "dal_toolbox.datasets.mapped.block_digest",
        lambda block: asked.append(len(block)) or block_digest(block),
    )
    for _ in range(2):
        assert torch.equal(images.batch(np.arange(15)), files.batch(np.arange(15)))
        assert torch.equal(images.subset(np.arange(5)).images, files.batch(np.arange(5)))
    assert asked == [1000, 1000, 1000, 8]


JUNK = [None, True, -1, 2**70, 1.5, "x", [], [[]], [None], {}, {"row": 1}]


@pytest.mark.parametrize(
    "key", ["shape", "digest", "blocks", "block_bytes", "skipped", "fingerprint"]
)
def test_manifests_that_cannot_be_are_packed_anew(files, tmp_path, key):
    """Even those with a right checksum; a missing key, too."""
    pack(files, tmp_path)
    manifest = tmp_path / files.fingerprint / "manifest.json"
    facts = read_sealed(manifest)
    for value in JUNK:
        write_sealed(manifest, {**facts, key: value})
        assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))
    write_sealed(manifest, {name: value for name, value in facts.items() if name != key})
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))


def test_manifests_that_are_damaged_are_packed_anew(files, tmp_path, caplog):
    first = pack(files, tmp_path)
    manifest = tmp_path / files.fingerprint / "manifest.json"
    sound = manifest.read_bytes()
    changed = [
        sound.replace(files.fingerprint[:8].encode(), b"00000000"),
        sound.replace(b"8", b"9"),
    ]
    for content in [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000, sound[:-20], *changed]:
        caplog.clear()
        manifest.write_bytes(content)
        again = pack(files, tmp_path)
        assert torch.equal(again.images, first.images)
        assert again.fingerprint == first.fingerprint
        assert f"{manifest.parent} is damaged; the images are packed anew" in caplog.text
        assert manifest.read_bytes() == sound


def test_a_pack_without_checksums_is_packed_anew(files, tmp_path, caplog):
    pack(files, tmp_path)
    manifest = tmp_path / files.fingerprint / "manifest.json"
    facts = read_sealed(manifest)
    manifest.write_text(json.dumps({key: facts[key] for key in ("fingerprint", "shape", "digest")}))
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))
    assert "manifest.json is not what was written" in caplog.text


def test_other_packs_are_mentioned(files, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("dal_toolbox.datasets.packing.MENTIONED_BYTES", 1000)
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        pack(files, tmp_path)
        assert "other packs" not in caplog.text
        pack(open_files(files.root, image_size=9), tmp_path)
    assert f"1 other packs in {tmp_path} take" in caplog.text


def test_many_at_once(files, tmp_path):
    with ThreadPoolExecutor(4) as threads:
        packs = list(threads.map(lambda _: pack(files, tmp_path), range(4)))
    assert all(torch.equal(packs[0].images, other.images) for other in packs)
    assert not list(tmp_path.glob("*/*.part"))


def test_a_corrupt_file_is_named_and_nothing_stays(files, tmp_path):
    (files.root / "dog/12.png").write_bytes(b"broken")
    with pytest.raises(CorruptImage, match=r"dog/12\.png"):
        pack(files, tmp_path / "packed")
    assert not list((tmp_path / "packed").glob("*/*"))


def test_writing_does_not_reach_the_file(files, tmp_path):
    pack(files, tmp_path).images.zero_()
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))


def test_no_room(files, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(100, 90, 10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(DiskFull, match=r"choose pack=never or another dataset_path"):
        pack(files, tmp_path)


def test_missing_file(files, tmp_path):
    (files.root / "cat/03.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot read .*cat/03\.png"):
        pack(files, tmp_path)


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EACCES", "EROFS", "EIO", "ENOENT"])
@pytest.mark.parametrize("place", ["append", "finish"])
def test_a_disk_that_fails_is_named_and_the_call_goes_on_later(
    files, tmp_path, monkeypatch, code, place
):
    monkeypatch.setattr("dal_toolbox.datasets.packing.CHUNK_BYTES", 2 * 3 * 8 * 8)
    method, calls = getattr(Part, place), []

    def fails(*args):
        calls.append(1)
        if place == "finish" or len(calls) == 4:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), "the/file")
        return method(*args)

    monkeypatch.setattr(Part, place, fails)
    with pytest.raises(CannotPack, match=r"choose pack=never or another dataset_path") as caught:
        pack(files, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*/manifest.json"))
    monkeypatch.setattr(Part, place, method)
    for name in files.names[:6]:
        break_unseen(files.root / name)  # the three chunks that were written
    images = pack(files, tmp_path)
    assert torch.equal(images.batch(np.arange(6, 15)), files.batch(np.arange(6, 15)))


def test_a_folder_that_vanishes(files, tmp_path, monkeypatch):
    method = Part.append

    def vanishes(part, *args):
        method(part, *args)
        shutil.rmtree(part.directory)

    monkeypatch.setattr("dal_toolbox.datasets.packing.CHUNK_BYTES", 2 * 3 * 8 * 8)
    monkeypatch.setattr(Part, "append", vanishes)
    with pytest.raises(CannotPack, match=r"images.npy.part: No such file or directory"):
        pack(files, tmp_path)
    monkeypatch.setattr(Part, "append", method)
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))


def test_no_folder_can_be_made(files, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotPack, match=r"cannot pack the images: .*file"):
        pack(files, tmp_path / "file")


def test_what_a_killed_call_left_is_swept(files, tmp_path):
    directory = tmp_path / files.fingerprint
    directory.mkdir()
    for name in (".manifest.json.1a.tmp", "skipped.jsonl.part", "images.npy.part"):
        (directory / name).write_text("half")
    pack(files, tmp_path)
    assert sorted(path.name for path in directory.iterdir()) == ["images.npy", "manifest.json"]
