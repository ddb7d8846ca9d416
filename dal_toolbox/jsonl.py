"""JSON lines that survive a crash: one record, one line, on disk before the next step."""

import json
import os
from pathlib import Path

from dal_toolbox.errors import UserError
from dal_toolbox.progress import log


def read_lines(path: Path) -> list[dict]:
    """Records of a file, none where it does not exist; an incomplete last line is ignored.

    Raises:
        UserError: A complete line is no JSON object.
    """
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        log.warning("%s ends in the middle of a line, which is ignored", path)
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def append_lines(path: Path, records: list[dict]) -> None:
    """Adds records, in place of an incomplete last line if there is one, and waits for the disk."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    with path.open("ab+") as file:
        file.truncate(_end_of_last_line(path))
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _end_of_last_line(path: Path) -> int:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def _parse(line: bytes, path: Path, number: int) -> dict:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number} is no JSON object; repair or remove the file")
    return record
