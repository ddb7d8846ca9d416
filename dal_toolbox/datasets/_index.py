"""Which image files lie below a folder; listed once, as long as no folder changes."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from dal_toolbox.datasets._listing import is_image
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.io import read_json, write_json
from dal_toolbox.progress import log, progress_bar

MANY = 50_000  # files from which on a progress bar and the index pay
SETTLED_SECONDS = 5.0  # a folder changed later may change again without a new time
NUM_THREADS = 8  # a network drive answers several at once


class Listed(NamedTuple):
    """A folder, its modification time in ns before it was listed, its images and its folders."""

    folder: str
    time_ns: int
    images: list[str]
    folders: list[str]


def scan(
    root: Path, cache_dir: Path | None = None, folders: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Sorted image paths of each folder that has some, as ``folder/file`` relative to ``root``.

    The root itself is the folder ``""``; hidden files and folders are left out; no file is opened.
    A list of 50,000 files or more is kept, and taken again while the modification times of all
    folders are the same: those change when a file is added, removed or renamed.

    Args:
        root: The folder.
        cache_dir: Where lists are kept; None keeps none.
        folders: Only these are listed, without what lies deeper; None: everything below ``root``.

    Raises:
        DatasetNotFound: A folder cannot be read.
    """
    file = None if cache_dir is None else cache_dir / f"{_key(root, folders)}.json"
    index = read_json(file) if file is not None and file.exists() else {}
    if index and _times(root, list(index["times"])) == index["times"]:
        log.info("list of the files below %s: taken from %s", root, file)
        return {folder: _joined(folder, names) for folder, names in index["images"].items()}
    now = time.time()
    try:
        images_in, times = _scan(root, folders)
    except OSError as error:
        raise DatasetNotFound(f"cannot read {error.filename}: {error.strerror}") from None
    settled = max(times.values(), default=0) / 1e9 < now - SETTLED_SECONDS
    if file is not None and settled and sum(map(len, images_in.values())) >= MANY:
        images = {folder: _split(folder, paths) for folder, paths in images_in.items()}
        _keep(file, {"root": str(root.absolute()), "times": times, "images": images})
    return images_in


def _scan(root: Path, folders: Sequence[str] | None) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Images of each folder, and the modification time in nanoseconds of every folder."""
    images_in: dict[str, list[str]] = {}
    times: dict[str, int] = {}
    total = 0
    with ExitStack() as stack:
        task = None
        for found in _walk(root, folders):
            times[found.folder] = found.time_ns
            if found.images:
                images_in[found.folder] = sorted(found.images)
                total += len(found.images)
            if task is None and total > MANY:
                progress = stack.enter_context(progress_bar())
                task = progress.add_task("Listing images", total=None, note="")
            if task is not None:
                progress.update(task, completed=total)
    return dict(sorted(images_in.items())), times


def _walk(root: Path, folders: Sequence[str] | None) -> Iterator[Listed]:
    """The given folders, or the root and level by level what lies below."""
    level = [""] if folders is None else list(folders)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        while level:
            deeper = []
            for found in pool.map(partial(_list, root), level):
                deeper += found.folders
                yield found
            level = deeper if folders is None else []


def _list(root: Path, folder: str) -> Listed:
    prefix = f"{folder}/" if folder else ""
    found = Listed(folder, (root / folder).stat().st_mtime_ns, [], [])
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if is_image(entry.name):
                found.images.append(prefix + entry.name)
            elif not entry.name.startswith(".") and entry.is_dir():
                found.folders.append(prefix + entry.name)
    return found


def _times(root: Path, folders: list[str]) -> dict[str, int] | None:
    try:
        return {folder: (root / folder).stat().st_mtime_ns for folder in folders}
    except OSError:  # one is gone
        return None


def _key(root: Path, folders: Sequence[str] | None) -> str:
    wanted = "" if folders is None else json.dumps(list(folders))
    return sha256(os.fsencode(root.absolute()) + wanted.encode()).hexdigest()[:32]


def _keep(file: Path, index: dict) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, index)
    except OSError as error:
        log.warning("%s cannot be written (%s): listed anew each time", file, error.strerror)


def _split(folder: str, paths: list[str]) -> str:
    """File names in one text: no name has a slash, and it reads faster than a list."""
    start = len(folder) + 1 if folder else 0
    return "/".join(path[start:] for path in paths)


def _joined(folder: str, names: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return [prefix + name for name in names.split("/")]
