"""Files that cannot be decoded: found once, left out, and named."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from filelock import FileLock

from dal_toolbox.datasets.base import SkippedFile
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.loader import map_batches
from dal_toolbox.errors import UserError, printable
from dal_toolbox.io import read_json, write_json
from dal_toolbox.progress import log, progress_bar

CHUNK = 32  # files that a worker checks at a time
SAVE_SECONDS = 10.0
SHOWN = 5  # bad files that the warning names


class NothingReadable(UserError, ValueError):
    """A dataset, or a split of it, without a single file that can be decoded."""


def find_bad(files: ImageFiles, cache_dir: Path, *, num_workers: int = 0) -> dict[int, str]:
    """Row and reason of every file that cannot be decoded; all are decoded, at the first call only.

    What was found lies in ``cache_dir/<fingerprint>/checked.json``. An interrupted call goes on
    where it was.

    Args:
        files: What to check.
        cache_dir: Where the result lies.
        num_workers: Processes that decode.
    """
    record = bad_list(files, cache_dir)
    record.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / f".{files.fingerprint}.lock"):
        checked, bad = _read(record, files)
        if checked < len(files):
            log.info("checking whether %d files can be decoded", len(files))
            _check(files, checked, bad, record, num_workers)
    return bad


def bad_list(files: ImageFiles, cache_dir: Path) -> Path:
    """The file in which :func:`find_bad` records what it found."""
    return cache_dir / files.fingerprint / "checked.json"


def leave_out(files: ImageFiles, bad: Mapping[int, str], record: Path) -> ImageFiles:
    """The files without the bad ones, which are listed in its ``skipped``; warns of them.

    Args:
        files: All files.
        bad: Row and reason of each bad one.
        record: The file that lists them all, for the message.

    Raises:
        NothingReadable: All are bad.
    """
    if not bad:
        return files
    skipped = tuple(SkippedFile(files.names[row], reason) for row, reason in sorted(bad.items()))
    first = printable("; ".join(f"{file.name} ({file.reason})" for file in skipped[:SHOWN]))
    more = "; …" if len(skipped) > SHOWN else ""
    if len(bad) == len(files):
        raise NothingReadable(
            f"none of the {len(files)} files below {files.root} can be decoded: {first}{more}"
        )
    log.warning(
        "%d of %d files cannot be decoded and are skipped: %s%s (all are listed in %s)",
        *(len(bad), len(files), first, more, record),
    )
    good = files.subset(np.setdiff1d(np.arange(len(files)), list(bad)))
    good.skipped = skipped
    return good


def to_records(files: ImageFiles, bad: Mapping[int, str]) -> list[dict[str, Any]]:
    """Bad files as JSON keeps them."""
    return [
        {"row": row, "name": files.names[row], "reason": reason}
        for row, reason in sorted(bad.items())
    ]


def from_records(records: list[dict[str, Any]]) -> dict[int, str]:
    """The reverse of :func:`to_records`."""
    return {record["row"]: record["reason"] for record in records}


def _read(record: Path, files: ImageFiles) -> tuple[int, dict[int, str]]:
    """How many files were checked, and what was found; nothing where the record is damaged."""
    if not record.exists():
        return 0, {}
    try:
        facts = read_json(record)
        checked, bad = facts["checked"], from_records(facts["skipped"])
        fits = all(files.names[item["row"]] == item["name"] for item in facts["skipped"])
        if fits and 0 <= max(bad, default=-1) + 1 <= checked <= len(files):
            return checked, bad
    except (OSError, ValueError, TypeError, LookupError):
        pass
    log.warning("%s is damaged: the files are checked anew", record)
    return 0, {}


def _check(
    files: ImageFiles, start: int, bad: dict[int, str], record: Path, num_workers: int
) -> None:
    batches = [
        np.arange(first, min(first + CHUNK, len(files)))
        for first in range(start, len(files), CHUNK)
    ]
    done, saved = start, monotonic()
    with progress_bar() as progress:
        task = progress.add_task("Checking files", total=len(files), completed=start, note="")
        for found in map_batches(files.find_bad, batches, num_workers):
            bad.update(found)
            done = min(done + CHUNK, len(files))
            progress.update(task, completed=done, note=f"{len(bad)} bad" if bad else "")
            if done == len(files) or monotonic() - saved > SAVE_SECONDS:
                write_json(record, {"checked": done, "skipped": to_records(files, bad)})
                saved = monotonic()
