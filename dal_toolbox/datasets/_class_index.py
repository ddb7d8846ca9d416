"""Files of many class folders, listed once as long as no folder changes."""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from dal_toolbox.datasets._listing import list_images
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.progress import log, track

NUM_THREADS = 8  # a network drive answers several at once
SETTLED = 2.0  # seconds; a folder changed later than that may change again within one tick


def list_classes(root: Path, folders: Sequence[str], cache_dir: Path) -> list[list[str]]:
    """Sorted names of the image files of each folder; no file is opened.

    The result is kept in ``cache_dir``, by path and modification time of every folder: adding,
    removing or renaming a file changes the latter.

    Raises:
        DatasetNotFound: A folder is missing.
    """
    try:
        stamps = [(root / folder).stat().st_mtime_ns for folder in folders]
    except OSError as error:
        raise DatasetNotFound(f"cannot read {error.filename}: {error.strerror}") from None
    facts = json.dumps([str(root.resolve()), list(folders), stamps])
    file = cache_dir / f"{sha256(facts.encode()).hexdigest()[:32]}.txt"
    if file.is_file():
        return _read(file)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        found = pool.map(list_images, [root / folder for folder in folders])
        files = list(track(found, f"Listing {root}", total=len(folders)))
    if max(stamps, default=0) < (time.time() - SETTLED) * 1e9:
        _write(file, files)
    return files


def _read(file: Path) -> list[list[str]]:
    """A line for each folder, with ``/`` between names: no file name holds one."""
    lines = os.fsdecode(file.read_bytes()).split("\0\n")[:-1]
    return [line.split("/") if line else [] for line in lines]


def _write(file: Path, files: Sequence[Sequence[str]]) -> None:
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(os.fsencode("".join("/".join(names) + "\0\n" for names in files)))
        temporary.replace(file)
    except OSError as error:
        log.warning("%s cannot be written (%s): listed anew each time", file, error.strerror)
