import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from dal_toolbox.datasets import ImageArray, ImageFiles, ImageLoader, residency
from dal_toolbox.datasets._memory import available_memory, is_mapped
from dal_toolbox.datasets.packing import pack
from dal_toolbox.datasets.residency import (
    DoesNotFit,
    ResidentImages,
    ResidentLoader,
    choose_place,
    num_bytes,
    resident,
    resident_loader,
)
from dal_toolbox.errors import UserError


@pytest.fixture
def files(tmp_path, write_image):
    names = [f"{seed:02d}.png" for seed in range(23)]
    for seed, name in enumerate(names):
        write_image(tmp_path / "images" / name, seed)
    return ImageFiles(tmp_path / "images", names, np.arange(23) % 3, image_size=12)


@pytest.fixture
def array(files):
    return ImageArray(files.batch(np.arange(23)), files.targets, files.names)


@pytest.fixture
def packed(files, tmp_path):
    return pack(files, tmp_path / "packs")


@pytest.fixture(params=["files", "array", "packed", "part of files", "part of array"])
def images(request):
    whole = request.getfixturevalue(request.param.split()[-1])
    rows = np.random.default_rng(0).permutation(23)[:17]
    return whole.subset(rows) if request.param.startswith("part") else whole


def batches(loader, epochs=2):
    seen = []
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        seen += list(loader)
    return seen


@pytest.mark.parametrize("where", ["auto", "device", "memory", "disk"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_are_those_of_the_plain_loader(images, where, drop_last):
    plain = ImageLoader(images, 5, shuffle=True, drop_last=drop_last, seed=3)
    loader = resident_loader(plain, where)
    assert isinstance(loader, ResidentLoader) == (where != "disk")
    assert len(loader) == len(plain)
    for one, other in zip(batches(plain), batches(loader), strict=True):
        for expected, tensor in zip(one, other, strict=True):
            assert tensor.dtype == expected.dtype
            assert torch.equal(tensor, expected)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_content_and_facts_stay(images, where):
    there = resident(images, where)
    assert there.fingerprint == images.fingerprint
    assert there.names == images.names
    assert there.shape == images.shape
    assert np.array_equal(there.targets, images.targets)
    rows = np.array([4, 0, 4, 16])
    assert torch.equal(there.batch(rows), images.batch(rows))
    part = there.subset(np.array([9, 2]))
    assert torch.equal(part.batch(np.array([1])), images.batch(np.array([2])))
    if where == "memory":
        assert torch.equal(there.images, images.batch(np.arange(len(images))))
        assert torch.equal(part.images, images.batch(np.array([9, 2])))


def test_arrays_in_memory_are_shared(array):
    for images in (array, array.subset(np.array([5, 3, 8]))):
        there = resident(images, "memory")
        assert there._storage.data_ptr() == array.images.data_ptr()
        assert resident(there, "memory") is there


def test_new_numbers_of_targets_stay(array):
    part = array.subset(np.array([5, 3, 8]))
    part.targets = np.array([7, 8, 9])
    (_, targets, rows) = next(iter(resident_loader(ImageLoader(part, 3))))
    assert targets.tolist() == [7, 8, 9]
    assert rows.tolist() == [0, 1, 2]


def test_mapped_files_may_have_any_name(tmp_path):
    tensor = torch.zeros(8)
    address = tensor.data_ptr()
    names = [b"/packs/M\xfcller/images.npy", "/packs/a\u2028b\x0b\rc.npy".encode()]
    lines = [
        b"%x-%x rw-p 00000000 08:01 77 %s" % (row, row + 1, name) for row, name in enumerate(names)
    ]
    lines.append(b"%x-%x rw-p 00000000 08:01 99 %s" % (address, address + 32, names[0]))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/maps").write_bytes(b"\n".join(lines) + b"\n")
    assert is_mapped(tensor, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells")
def test_a_pack_is_copied_into_memory_or_stays_mapped(packed):
    assert is_mapped(packed.images)
    assert not is_mapped(packed.images.clone())
    there = resident(packed, "memory")
    assert isinstance(there, ResidentImages)
    assert not is_mapped(there.images)
    assert resident(packed, "disk") is packed


def test_files_are_decoded_once(files, monkeypatch):
    there = resident(files, "memory")
    monkeypatch.setattr(ImageFiles, "batch", None)
    loader = ResidentLoader(there, 4, shuffle=True)
    assert len(batches(loader)) == 12


def test_the_choice_follows_the_sizes(files, array, packed, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "dal_toolbox")
    size = num_bytes(files)
    assert size == 23 * 3 * 12 * 12
    for available, expected in ((2 * size, "memory"), (2 * size - 1, "disk")):
        monkeypatch.setattr(residency, "available_memory", lambda free=available: free)
        assert choose_place(files, "auto", "cpu") == expected
        assert choose_place(packed, "auto", "cpu") == expected
        assert choose_place(array, "auto", "cpu") == "memory"  # there already
        assert choose_place(files, "memory", "cpu") == "memory"  # asked for, and it fits
    assert "residency=memory: 0.01 MB of images" in caplog.text
    assert "residency=disk: 0.01 MB of images stay where they are" in caplog.text


@pytest.mark.parametrize(
    ("free_on_device", "free", "expected"),
    [
        (10**9, 10**9, "device"),
        (12_000, 10**9, "memory"),
        (12_000, 12_000, "disk"),
    ],
)
def test_the_choice_with_an_accelerator(files, monkeypatch, free_on_device, free, expected):
    monkeypatch.setattr(residency, "free_device_memory", lambda device: free_on_device)
    monkeypatch.setattr(residency, "available_memory", lambda: free)
    assert choose_place(files, "auto", "cuda:0") == expected


def test_more_than_fits_is_refused(files, monkeypatch):
    monkeypatch.setattr(residency, "free_device_memory", lambda device: 9000)
    monkeypatch.setattr(residency, "available_memory", lambda: 9000)
    with pytest.raises(DoesNotFit, match=r"take 0.01 MB, but 0.01 MB are free; choose .*=disk"):
        resident(files, "memory")
    with pytest.raises(DoesNotFit, match="residency=memory, or auto"):
        choose_place(files, "device", "cuda:0")


def test_unknown_residency(array):
    with pytest.raises(UserError, match="'vram': choose one of auto, device, memory, disk"):
        resident(array, "vram")


@dataclass
class System:
    """Files of a system below a folder."""

    root: Path

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def system(tmp_path):
    return System(tmp_path)


def test_available_memory_of_a_machine(system):
    system.write("proc/meminfo", "MemTotal: 900 kB\nMemAvailable: 500 kB\n")
    assert available_memory(system.root) == 500 * 1024


def test_available_memory_under_the_limit_of_a_group(system):
    system.write("proc/meminfo", "MemAvailable: 500 kB\n")
    system.write("proc/self/cgroup", "0::/job/step\n")
    system.write("sys/fs/cgroup/job/step/memory.max", "max\n")
    system.write("sys/fs/cgroup/job/step/memory.current", "1\n")
    system.write("sys/fs/cgroup/job/memory.max", "5000\n")
    system.write("sys/fs/cgroup/job/memory.current", "4000\n")
    system.write("sys/fs/cgroup/job/memory.stat", "anon 2500\ninactive_file 1500\n")
    assert available_memory(system.root) == 2500


def test_available_memory_under_the_limit_of_an_old_group(system):
    system.write("proc/meminfo", "MemAvailable: 500 kB\n")
    system.write("proc/self/cgroup", "3:cpu:/x\n2:hugetlb,memory:/job\n")
    system.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n")
    system.write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "5500\n")
    assert available_memory(system.root) == 0


def test_available_memory_here():
    assert 2**20 < available_memory() < 2**50
