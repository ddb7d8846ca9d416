"""Where the faces of UTKFace lie."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from dal_toolbox.datasets._download import not_found, writing
from dal_toolbox.datasets._listing import is_image
from dal_toolbox.datasets._unpack import BadArchive, extract, unpacking
from dal_toolbox.progress import log

FOLDERS = ("UTKFace", "utkface", "utkface_aligned_cropped", "UTKface_inthewild", "crop_part1")
ARCHIVES = ("UTKFace.tar.gz", "UTKFace.zip", "utkface-new.zip", "crop_part1.tar.gz")
WANTED = (
    f"a folder UTKFace of the images, or one of {', '.join(ARCHIVES)} or any archive in UTKFace"
)
NUM_SHOWN = 5


def find_faces(dataset_path: Path, is_valid: Callable[[str], bool]) -> tuple[Path, list[str]]:
    """The folder of the images, and their sorted paths below it, each face once.

    Raises:
        DatasetNotFound: There is no folder and no archive, or no image with a valid name.
        BadArchive: An archive is damaged.
    """
    root = _root(dataset_path)
    found = _images(root)
    bad = [name for name in found if not is_valid(name)]
    if bad:
        shown = ", ".join(bad[:NUM_SHOWN])
        log.warning(
            "%d files in %s are left out: their names are not [age]_[gender]_[race]_[date].jpg: %s%s",
            *(len(bad), root, shown, " …" if len(bad) > NUM_SHOWN else ""),
        )
    names = _once([name for name in found if is_valid(name)])
    if not names:
        reason = f"{root} holds no image named [age]_[gender]_[race]_[date].jpg"
        raise not_found("UTKFace", dataset_path, WANTED, reason)
    return root, names


def _root(dataset_path: Path) -> Path:
    folders = [dataset_path / name for name in FOLDERS]
    root = next((folder for folder in folders if folder.is_dir()), folders[0])
    if _images(root):
        return root
    archives = [dataset_path / name for name in ARCHIVES]
    archives += [*sorted(root.glob("*.zip")), *sorted(root.glob("*.tar.gz"))]
    if not any(archive.is_file() for archive in archives):
        raise not_found("UTKFace", dataset_path, WANTED, "it is not downloaded automatically")
    for archive in archives:
        if archive.is_file():
            with writing("UTKFace", dataset_path, WANTED, str(archive)):
                _unpack(archive, root)
    return root


def _unpack(archive: Path, root: Path) -> None:
    """Unpacks into a folder that is called as the archive is."""
    folder = root / archive.name.split(".")[0]
    root.mkdir(exist_ok=True)
    if folder.is_dir():
        return
    with unpacking(folder) as inside:
        extract(archive, inside)
        if not _images(inside):
            raise BadArchive(f"{archive} holds no images; put one of the official files there")


def _images(root: Path) -> list[str]:
    """Sorted paths below the root; hidden folders are left out."""
    found = []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        prefix = Path(folder).relative_to(root)
        found += [(prefix / file).as_posix() for file in files if is_image(file)]
    return sorted(found)


def _once(names: list[str]) -> list[str]:
    """The first file of each face: the crops of one photo differ in folder and ending only."""
    first: dict[str, str] = {}
    for name in names:
        match = re.match(r"[\d_]+", name.rpartition("/")[2])
        first.setdefault(match[0] if match else name, name)
    if len(first) < len(names):
        log.info("%d further files of the same faces are left out", len(names) - len(first))
    return list(first.values())
