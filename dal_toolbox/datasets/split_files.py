"""Split files: ``train.txt``, ``val.txt``, ``test.txt``, ``unlabeled.txt``, one relative path a line."""

import codecs
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from dal_toolbox.datasets._roles import SPLIT_OF_WORD, WORDS, resembles_split
from dal_toolbox.datasets.names import as_name, as_text
from dal_toolbox.errors import UserError, printable
from dal_toolbox.io import ERRORS
from dal_toolbox.progress import log

LISTS = frozenset((".txt", ".csv", ".tsv", ".json", ".jsonl", ".lst", ".list", ".parquet", ".xlsx"))


class BadSplitFile(UserError, ValueError):
    """A split file that does not fit the folder."""


def find_split_files(root: Path) -> dict[str, Path]:
    """The split files of a folder; capitals and other usual names (``valid.txt``) are understood.

    Warns of lists that look like split files and are not read, such as ``train.csv``.

    Raises:
        BadSplitFile: Two files are for the same split.
    """
    files: dict[str, Path] = {}
    unread = []
    for name in sorted(os.listdir(root)):  # noqa: PTH208  names only
        stem, end = os.path.splitext(name.lower())  # noqa: PTH122  of a name
        split = SPLIT_OF_WORD.get(stem) if end == ".txt" else None
        if split is None or not (root / name).is_file():
            unread += [name] if end in LISTS and resembles_split(stem) else []
        elif split in files:
            raise BadSplitFile(
                f"{root}: {files[split].name} and {name} both list images for {split}; "
                "remove or rename one"
            )
        else:
            files[split] = root / name
    if unread:
        log.warning(
            "not read: %s; splits are read from train.txt, val.txt, test.txt and unlabeled.txt "
            "in %s, one path a line",
            *(", ".join(map(printable, unread)), printable(str(root))),
        )
    return {split: files[split] for split in WORDS if split in files}


def read_split_files(files: Mapping[str, Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Ascending rows of ``names`` that each split file lists.

    Without one for training, the training images are those that the others do not list.
    Files are UTF-8, UTF-16 with a byte order mark, or bytes as in the names themselves.

    Raises:
        BadSplitFile: A file lists nothing, no image of ``names``, or one that was listed before.
    """
    look_up = _LookUp(names)
    place_of: dict[int, str] = {}  # row -> file and line that listed it
    splits = {split: _rows(file, look_up, place_of) for split, file in files.items()}
    if "train" not in splits:
        splits["train"] = np.setdiff1d(np.arange(len(names)), list(place_of))
    return splits


def split_lines(names: Iterable[str]) -> str:
    r"""The content of a split file.

    Names that are no line (with a line break, say) are written as JSON strings.

    >>> split_lines(["cat/a b.jpg", "dog/two\nlines.jpg"])
    'cat/a b.jpg\n"dog/two\\nlines.jpg"\n'
    """
    return "".join(f"{_line(name)}\n" for name in names)


class _LookUp:
    """Finds images by the paths that people and other systems write."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.exact = {name: row for row, name in enumerate(names)}
        self.alike: dict[str, list[int]] | None = None

    def row(self, line: str) -> int | None:
        """The row of the image that a line names; None where it names none, or two."""
        for path in _spellings(line):
            if path in self.exact:
                return self.exact[path]
        if self.alike is None:
            self.alike = defaultdict(list)
            for row, name in enumerate(self.names):
                self.alike[_neutral(name)].append(row)
        rows = self.alike.get(_neutral(_posix(line.strip())), [])
        return rows[0] if len(rows) == 1 else None


def _rows(file: Path, look_up: _LookUp, place_of: dict[int, str]) -> np.ndarray:
    rows = []
    for number, line in _lines(file):
        place = f"{file.name} line {number}"
        row = look_up.row(line)
        if row is None:
            raise BadSplitFile(
                f"{place} lists '{line.strip()}', which is no image in a class folder of "
                f"{file.parent}; paths in {file} are relative to that folder"
            )
        if row in place_of:
            raise BadSplitFile(
                f"{place} lists '{line.strip()}' again after {place_of[row]}; "
                "remove one of the lines"
            )
        place_of[row] = place
        rows.append(row)
    if not rows:
        raise BadSplitFile(f"{file} lists no images; fill it or remove it")
    return np.array(sorted(rows), dtype=np.int64)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and lines that are not blank, in the encoding of names of files."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadSplitFile(f"cannot read {file}: {error.strerror}") from None
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's ">"
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig", errors=ERRORS)
    except UnicodeDecodeError:
        raise BadSplitFile(f"{file} is no text in UTF-8 or UTF-16; save it as UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, as_name(line.removesuffix("\r"))


def _spellings(line: str) -> Iterator[str]:
    r"""A line as it is; without space around it; as Windows or a shell wrote it; unquoted.

    ``.\cat\a b.jpg`` is ``cat/a b.jpg``.
    """
    path = line.strip()
    yield from (line, path, _posix(path))
    if path.startswith('"') and path.endswith('"'):
        try:
            yield as_name(json.loads(path))
        except ValueError:  # quotes by hand
            yield path[1:-1]


def _line(name: str) -> str:
    is_line = name == name.strip() and "\n" not in name and not name.startswith('"')
    return name if is_line else json.dumps(name)


def _posix(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).as_posix()


def _neutral(path: str) -> str:
    """One spelling of a path for all systems: composed characters, other bytes as in Latin-1."""
    return unicodedata.normalize("NFC", as_text(path))
