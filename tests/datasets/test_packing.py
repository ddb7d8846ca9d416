import json
import logging
import os
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from dal_toolbox.datasets import ImageFiles
from dal_toolbox.datasets._decode import CorruptImage
from dal_toolbox.datasets.packing import DiskFull, pack


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


def test_an_interrupted_pack_goes_on(files, tmp_path):
    whole = pack(files, tmp_path / "whole")
    directory = tmp_path / "resumed" / files.fingerprint
    directory.mkdir(parents=True)
    content = (tmp_path / "whole" / files.fingerprint / "images.npy").read_bytes()
    item = 3 * 8 * 8
    header = len(content) - 15 * item
    (directory / "images.npy.part").write_bytes(content[: header + 4 * item + 7])
    for name in files.names[:4]:
        break_unseen(files.root / name)  # these four must not be decoded again
    resumed = pack(files, tmp_path / "resumed")
    assert torch.equal(resumed.images, whole.images)
    assert resumed.fingerprint == whole.fingerprint


@pytest.mark.parametrize("length", [0, 5])
def test_a_pack_interrupted_in_its_header_starts_anew(files, tmp_path, length):
    directory = tmp_path / files.fingerprint
    directory.mkdir()
    (directory / "images.npy.part").write_bytes(b"\x93NUMPY"[:length])
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))


def test_a_damaged_pack_is_made_anew(files, tmp_path):
    pack(files, tmp_path)
    file = tmp_path / files.fingerprint / "images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))


@pytest.mark.parametrize("place", [128, -1])
def test_lost_pixels_are_noticed(files, tmp_path, place, caplog):
    pack(files, tmp_path)
    file = tmp_path / files.fingerprint / "images.npy"
    content = bytearray(file.read_bytes())
    content[place] ^= 255
    file.write_bytes(content)
    assert torch.equal(pack(files, tmp_path).images, files.batch(np.arange(15)))
    assert "is damaged; the images are packed anew" in caplog.text


def test_a_pack_without_a_sample_is_taken(files, tmp_path, monkeypatch):
    pack(files, tmp_path)
    manifest = tmp_path / files.fingerprint / "manifest.json"
    facts = json.loads(manifest.read_text())
    del facts["sample"], facts["skipped"]  # as earlier versions wrote it
    manifest.write_text(json.dumps(facts))
    monkeypatch.setattr("dal_toolbox.datasets._decode.decode", None)
    assert len(pack(open_files(files.root), tmp_path)) == 15


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
    with pytest.raises(DiskFull, match=r"dataset\.pack=never"):
        pack(files, tmp_path)


def test_missing_file(files, tmp_path):
    (files.root / "cat/03.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot read .*cat/03\.png"):
        pack(files, tmp_path)
