"""Which image files lie below a folder; listed once, as long as no folder changes."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from dal_toolbox.datasets._listing import is_image
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.errors import printable
from dal_toolbox.io import read_json, write_json
from dal_toolbox.progress import log, progress_bar

MANY = 50_000  # files from which on a progress bar and the index pay
SETTLED_SECONDS = 5.0  # a folder changed later may change again without a new time
NUM_THREADS = 8  # a network drive answers several at once


SYSTEM_FOLDERS = frozenset(
    (
        "@eadir",  # Synology
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",  # Windows
        "system volume information",
        "__macosx",  # archives from a Mac
        "__pycache__",
        "lost+found",
    )
)
RUN_FILE = "config_resolved.yaml"  # pictures beside it are those of a run
FORMAT = 2  # counts changes of what an index file holds


class Survey(NamedTuple):
    """What lies below a folder.

    Args:
        images: Sorted image paths of each folder that has some, as ``folder/file``.
        folders: All folders that were listed.
        others: Number of other files of each folder that has some, by the end of their names.
        left_out: Folders that were not listed, and why.
    """

    images: dict[str, list[str]]
    folders: list[str]
    others: dict[str, dict[str, int]]
    left_out: dict[str, str]


class Listed(NamedTuple):
    """A folder: its images, the ends of its other names, its folders, links to folders, the rest."""

    folder: str
    images: list[str]
    others: dict[str, int]
    folders: list[str]
    links: list[str]
    left_out: dict[str, str]


class Place(NamedTuple):
    """A folder, which one it really is, and its times: of its content, and of its own change."""

    folder: str
    identity: tuple[int, int]
    times: list[int]


def scan(
    root: Path, cache_dir: Path | None = None, folders: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """The images of :func:`survey`."""
    return survey(root, cache_dir, folders).images


def survey(
    root: Path, cache_dir: Path | None = None, folders: Sequence[str] | None = None
) -> Survey:
    """Lists what lies below ``root``; no file is opened.

    The root itself is the folder ``""``. Hidden files and folders, those of operating systems and
    run folders are left out. Links are followed, but every real folder is listed once: where it lies below
    ``root``, else under the first link to it.

    A list of 50,000 files or more is kept, and taken again while the times of all folders are the
    same: those change when a file is added, removed or renamed.

    Args:
        root: The folder.
        cache_dir: Where lists are kept; None keeps none.
        folders: Only these are listed, without what lies deeper; None: everything below ``root``.

    Raises:
        DatasetNotFound: A folder cannot be read.
    """
    file = None if cache_dir is None else cache_dir / f"{_key(root, folders)}.json"
    if file is not None and (known := _read(file, root)) is not None:
        log.info("list of the files below %s: taken from %s", printable(str(root)), file)
        return known
    now = time.time()
    try:
        found, times = _survey(root, folders)
    except OSError as error:
        raise DatasetNotFound(f"cannot read {error.filename}: {error.strerror}") from None
    settled = max((mtime for mtime, _ in times.values()), default=0) / 1e9 < now - SETTLED_SECONDS
    if file is not None and settled and sum(map(len, found.images.values())) >= MANY:
        _keep(file, root, found, times)
    return found


def _survey(root: Path, folders: Sequence[str] | None) -> tuple[Survey, dict[str, list[int]]]:
    """What there is, and the times of every folder."""
    survey, times = Survey({}, [], {}, {}), {}
    total = 0
    with ExitStack() as stack:
        task = None
        for place, found in _walk(root, folders, survey.left_out):
            times[place.folder] = place.times
            survey.folders.append(place.folder)
            survey.left_out.update(found.left_out)
            if found.others:
                survey.others[place.folder] = found.others
            if found.images:
                survey.images[place.folder] = sorted(found.images)
                total += len(found.images)
            if task is None and total > MANY:
                progress = stack.enter_context(progress_bar())
                task = progress.add_task("Listing images", total=None, note="")
            if task is not None:
                progress.update(task, completed=total)
    return survey._replace(images=dict(sorted(survey.images.items()))), times


def _walk(
    root: Path, folders: Sequence[str] | None, left_out: dict[str, str]
) -> Iterator[tuple[Place, Listed]]:
    """The given folders, or level by level what lies below the root, and then behind links."""
    listed: dict[tuple[int, int], str] = {}
    level, links = [""] if folders is None else list(folders), list[str]()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        while level:
            places = list(pool.map(partial(_place, root), level))
            if folders is None:
                places = list(_new(places, listed, left_out))
            level = []
            found_in = pool.map(partial(_list, root), [place.folder for place in places])
            for place, found in zip(places, found_in, strict=True):
                yield place, found
                level += found.folders
                links += found.links
            if not level:
                level, links = sorted(links), []
            if folders is not None:
                return


def _new(
    places: Sequence[Place], listed: dict[tuple[int, int], str], left_out: dict[str, str]
) -> Iterator[Place]:
    """The folders that were not listed before under another name."""
    for place in places:
        first = listed.setdefault(place.identity, place.folder)
        if first == place.folder:
            yield place
        else:
            left_out[place.folder] = f"the same folder as {first or 'the root'}"


def _place(root: Path, folder: str) -> Place:
    status = (root / folder).stat()
    identity = (status.st_dev, status.st_ino)
    return Place(folder, identity, [status.st_mtime_ns, status.st_ctime_ns])


def _list(root: Path, folder: str) -> Listed:
    prefix = f"{folder}/" if folder else ""
    found, is_run = Listed(folder, [], {}, [], [], {}), False
    with os.scandir(root / folder) as entries:
        for entry in entries:
            if is_image(entry.name):
                found.images.append(prefix + entry.name)
            elif not entry.name.startswith("."):
                _sort_in(entry, prefix + entry.name, found)
                is_run |= entry.name == RUN_FILE
    return Listed(folder, [], {}, [], [], {folder: "a run folder"}) if is_run and folder else found


def _sort_in(entry: os.DirEntry, path: str, found: Listed) -> None:
    """Puts what is no image where it belongs."""
    try:
        is_folder = entry.is_dir()
    except OSError as error:  # a link that leads to itself, or where nothing may be read
        found.left_out[path] = f"a link that leads nowhere ({error.strerror})"
        return
    if not is_folder:
        end = Path(entry.name).suffix.lower()
        found.others[end] = found.others.get(end, 0) + 1
    elif entry.name.lower() in SYSTEM_FOLDERS:
        found.left_out[path] = "a folder of the operating system"
    elif entry.is_symlink():
        found.links.append(path)
    else:
        found.folders.append(path)


def _times(root: Path, folders: Iterable[str]) -> dict[str, list[int]] | None:
    try:
        return {folder: _place(root, folder).times for folder in folders}
    except OSError:  # one is gone
        return None


def _key(root: Path, folders: Sequence[str] | None) -> str:
    # Names are decoded by the locale's encoding: another one gives other strings.
    wanted = "" if folders is None else json.dumps(list(folders))
    facts = os.fsencode(root.absolute()) + f"{sys.getfilesystemencoding()}{wanted}".encode()
    return sha256(facts).hexdigest()[:32]


def _read(file: Path, root: Path) -> Survey | None:
    """What was kept, if it is whole and no folder has changed since."""
    if not file.exists():
        return None
    try:
        index = read_json(file)
        if index.get("format") != FORMAT or _times(root, index["times"]) != index["times"]:
            return None
        images = {folder: _joined(folder, names) for folder, names in index["images"].items()}
        return Survey(images, list(index["times"]), index["others"], dict(index["left_out"]))
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        log.warning("%s is damaged (%s): the files are listed anew", file, type(error).__name__)
        return None


def _keep(file: Path, root: Path, found: Survey, times: dict[str, list[int]]) -> None:
    images = {folder: _split(folder, paths) for folder, paths in found.images.items()}
    index = {"format": FORMAT, "root": str(root.absolute()), "times": times, "images": images}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {**index, "others": found.others, "left_out": found.left_out})
    except OSError as error:
        log.warning("%s cannot be written (%s): listed anew each time", file, error.strerror)


def _split(folder: str, paths: list[str]) -> str:
    """File names in one text: no name has a slash, and it reads faster than a list."""
    start = len(folder) + 1 if folder else 0
    return "/".join(path[start:] for path in paths)


def _joined(folder: str, names: str) -> list[str]:
    prefix = f"{folder}/" if folder else ""
    return [prefix + name for name in names.split("/")]
