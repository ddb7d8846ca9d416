"""How much memory there is, and whether a tensor lies in a file."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from dal_toolbox.io import read_text

UNKNOWN = 4 * 2**30  # bytes, where the system does not tell


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may still take without swapping: of the machine, and of its cgroups.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    rooms = [_machine(root), *_cgroups(root)]
    return max(0, min(rooms))


def free_device_memory(device: torch.device) -> int:
    """Bytes of an accelerator that are free, or kept by torch without being used."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def is_mapped(tensor: Tensor, root: Path = Path("/")) -> bool:
    """Whether a tensor is a mapped file, as far as the system tells (Linux does)."""
    maps = root / "proc/self/maps"
    if tensor.device.type != "cpu" or not maps.exists():
        return False
    address = tensor.data_ptr()
    for line in maps.read_bytes().strip().split(b"\n"):  # names of files may hold other breaks
        span, _, _, _, inode, *_ = line.split(maxsplit=5)
        start, end = (int(bound, 16) for bound in span.split(b"-"))
        if start <= address < end:
            return inode != b"0"
    return False


def _machine(root: Path) -> int:
    facts = root / "proc/meminfo"
    if facts.exists():
        for line in read_text(facts).splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN


def _cgroups(root: Path) -> Iterator[int]:
    """What is left under the limits of containers and batch systems."""
    own = root / "proc/self/cgroup"
    for line in read_text(own).splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            names = ("memory.max", "memory.current", "inactive_file")
            top = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        group = top / path.lstrip("/")
        for directory in (group, *group.parents):
            if directory.is_relative_to(top):  # a limit further up holds, too
                yield from _room(directory, *names)


def _room(directory: Path, limit: str, used: str, cache: str) -> Iterator[int]:
    if not (directory / limit).exists() or not (directory / used).exists():
        return
    most = read_text(directory / limit).strip()
    if most == "max":
        return
    room = int(most) - int(read_text(directory / used))
    statistics = directory / "memory.stat"
    for line in read_text(statistics).splitlines() if statistics.exists() else ():
        name, value = line.split()
        if name == cache:  # pages of files, given up when memory is needed
            room += int(value)
    yield room
