"""Split files: ``train.txt``, ``val.txt``, ``test.txt``, one relative path a line."""

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from dal_toolbox.errors import UserError


class BadSplitFile(UserError, ValueError):
    """A split file that does not fit the folder."""


def read_split_files(root: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Ascending rows of ``names`` that each split file in ``root`` lists; empty without such files.

    Without ``train.txt``, the training images are those that the other files do not list.

    Raises:
        BadSplitFile: A file lists nothing, no image of ``names``, or one that was listed before.
    """
    files = {split: root / f"{split}.txt" for split in ("train", "val", "test")}
    files = {split: file for split, file in files.items() if file.is_file()}
    if not files:
        return {}
    row_of = {name: row for row, name in enumerate(names)}
    place_of: dict[int, str] = {}  # row -> file and line that listed it
    splits = {split: _rows(file, row_of, place_of) for split, file in files.items()}
    if "train" not in splits:
        splits["train"] = np.setdiff1d(np.arange(len(names)), list(place_of))
    return splits


def _rows(file: Path, row_of: dict[str, int], place_of: dict[int, str]) -> np.ndarray:
    rows = []
    for number, path in _paths(file):
        place = f"{file.name} line {number}"
        row = row_of.get(path, row_of.get(_posix(path)))
        if row is None:
            raise BadSplitFile(
                f"{place} lists '{path}', which is no image in a class folder of {file.parent}; "
                f"paths in {file} are relative to that folder"
            )
        if row in place_of:
            raise BadSplitFile(
                f"{place} lists '{path}' again after {place_of[row]}; remove one of the lines"
            )
        place_of[row] = place
        rows.append(row)
    if not rows:
        raise BadSplitFile(f"{file} lists no images; fill it or remove it")
    return np.array(sorted(rows), dtype=np.int64)


def _paths(file: Path) -> Iterator[tuple[int, str]]:
    """Line numbers and paths; blank lines are left out, as is space around a path."""
    content = file.read_bytes()
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's ">"
    text = content.decode("utf-16" if is_utf16 else "utf-8-sig", errors="surrogateescape")
    for number, line in enumerate(text.split("\n"), start=1):
        if path := line.strip():
            yield number, path


def _posix(path: str) -> str:
    r"""A path as Windows or a shell wrote it: ``.\cat\a b.jpg`` is ``cat/a b.jpg``."""
    return PurePosixPath(path.replace("\\", "/")).as_posix()
