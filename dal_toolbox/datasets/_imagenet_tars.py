"""The official tar files of ImageNet, unpacked as far as they are needed."""

import re
import shutil
import tarfile
from collections.abc import Collection
from pathlib import Path

from dal_toolbox.datasets._unpack import (
    Budget,
    extract,
    extract_tar,
    named_if_broken,
    unpacking,
)
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.progress import log, progress_bar

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
MIB = 2**20


def unpack_train(tar: Path, folder: Path, wnids: Collection[str] | None) -> None:
    """Unpacks ``<wnid>.tar`` of each class that is missing below ``folder``.

    A class is there in full or not at all: an interrupted call goes on with the next one.

    Args:
        tar: The official file, a tar of tars.
        folder: Where the folders of the classes lie.
        wnids: The classes that are wanted; None: all.

    Raises:
        BadArchive: The tar is damaged.
        DatasetNotFound: There is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log.info("unpacking %s", tar)
    with named_if_broken(tar), tarfile.open(tar, "r:") as outer:
        to_do = {
            wnid: member
            for wnid, member in classes_of(outer).items()
            if (wnids is None or wnid in wnids) and not (folder / wnid).is_dir()
        }
        _unpack_classes(outer, to_do, folder)


def classes_of(outer: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """The inner tar of each class, in the order of the file."""
    members = {}
    for member in outer:
        if member.size < 0:  # would be read again and again
            raise tarfile.ReadError(f"{member.name!r} in it has a negative size")
        match = re.fullmatch(r"(n\d{8})\.tar", member.name)
        if match and member.isfile():
            members[match[1]] = member
    return members


def unpack_val(tar: Path, folder: Path) -> None:
    """Unpacks the validation images, which lie side by side.

    Raises:
        BadArchive: The tar is damaged.
        DatasetNotFound: There is no room.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_room(tar.stat().st_size, folder.parent)
    with unpacking(folder) as inside:
        extract(tar, inside)


def _unpack_classes(
    outer: tarfile.TarFile, members: dict[str, tarfile.TarInfo], folder: Path
) -> None:
    num_bytes = sum(member.size for member in members.values())
    _check_room(num_bytes, folder)
    budget = Budget(num_bytes, folder)
    with progress_bar() as progress:
        task = progress.add_task("Unpacking ImageNet (MiB)", total=num_bytes / MIB, note="")
        for wnid, member in members.items():
            with unpacking(folder / wnid) as inside:
                stream = outer.extractfile(member)
                assert stream is not None  # only files are listed
                inside.mkdir()
                for _ in extract_tar(stream, inside, budget):
                    pass
            progress.advance(task, member.size / MIB)


def _check_room(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetNotFound(
            f"unpacking ImageNet takes {needed / 1e9:.0f} GB, {free / 1e9:.0f} GB are free in "
            f"{folder}; make room or choose another dataset_path"
        )
