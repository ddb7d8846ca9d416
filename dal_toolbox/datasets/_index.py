"""Which image files lie below a folder; listed once, as long as no folder changes."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from dal_toolbox.datasets._decode import EXTENSIONS
from dal_toolbox.datasets._json import read_json, write_json
from dal_toolbox.progress import log, progress_bar

MANY = 50_000  # files from which on a progress bar and the index pay
SETTLED_SECONDS = 5.0  # a folder changed later may change again without a new time


def scan(root: Path, cache_dir: Path | None = None) -> dict[str, list[str]]:
    """Sorted image paths of each folder that has some, as ``folder/file`` relative to ``root``.

    The root itself is the folder ``""``; hidden files and folders are left out. A list of 50,000
    files or more is kept, and taken again while the modification times of all folders below
    ``root`` are the same: those change when a file is added, removed or renamed.

    Args:
        root: The folder.
        cache_dir: Where lists are kept; None keeps none.
    """
    file = None if cache_dir is None else cache_dir / f"{_key(root)}.json"
    index = {} if file is None else read_json(file)
    if index and _times(root, list(index["times"])) == index["times"]:
        log.info("list of the files below %s: taken from %s", root, file)
        return {folder: _joined(folder, names) for folder, names in index["images"].items()}
    now = time.time()
    images_in, times = _scan(root)
    settled = max(times.values()) / 1e9 < now - SETTLED_SECONDS
    if file is not None and settled and sum(map(len, images_in.values())) >= MANY:
        file.parent.mkdir(parents=True, exist_ok=True)
        images = {folder: _split(folder, paths) for folder, paths in images_in.items()}
        write_json(file, {"root": str(root.absolute()), "times": times, "images": images})
    return images_in


def _scan(root: Path) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Images of each folder, and the modification time in nanoseconds of every folder."""
    images_in: dict[str, list[str]] = {}
    times: dict[str, int] = {}
    total = 0
    with ExitStack() as stack:
        task = None
        for folder, time_ns, names in _folders(root):
            times[folder] = time_ns
            if names:
                images_in[folder] = sorted(names)
                total += len(names)
            if task is None and total > MANY:
                progress = stack.enter_context(progress_bar())
                task = progress.add_task("Listing images", total=None, note="")
            if task is not None:
                progress.update(task, completed=total)
    return dict(sorted(images_in.items())), times


def _folders(root: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Each folder, its modification time before it was listed, and its images."""
    to_do = [""]
    while to_do:
        folder = to_do.pop()
        prefix = f"{folder}/" if folder else ""
        names = []
        time_ns = (root / folder).stat().st_mtime_ns
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if f".{name.rpartition('.')[2].lower()}" in EXTENSIONS:
                    names.append(prefix + name)
                elif entry.is_dir():
                    to_do.append(prefix + name)
        yield folder, time_ns, names


def _times(root: Path, folders: list[str]) -> dict[str, int] | None:
    try:
        return {folder: (root / folder).stat().st_mtime_ns for folder in folders}
    except OSError:  # one is gone
        return None


def _key(root: Path) -> str:
    return sha256(os.fsencode(root.absolute())).hexdigest()[:32]


def _split(folder: str, paths: list[str]) -> str:
    """File names in one text: no name has a slash, and it reads faster than a list."""
    start = len(folder) + 1 if folder else 0
    return "/".join(path[start:] for path in paths)


def _joined(folder: str, names: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return [prefix + name for name in names.split("/")]
