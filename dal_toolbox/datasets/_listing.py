"""What image datasets say in their lists: files, classes and readable words."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dal_toolbox.datasets._decode import EXTENSIONS
from dal_toolbox.datasets._unpack import BadArchive, one_line
from dal_toolbox.datasets.base import DatasetNotFound


def read_lines(file: Path) -> list[str]:
    """The lines of a text file that are not empty, stripped.

    Raises:
        DatasetNotFound: It is missing, or cannot be read.
        BadArchive: It is no text.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DatasetNotFound(
            f"{file} is missing; delete {file.parents[1]} and start again, "
            "so that the official archive is unpacked anew"
        ) from None
    except OSError as error:
        raise DatasetNotFound(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadArchive(
            f"{file} is no text ({error.reason}); put the official one there"
        ) from error
    return [stripped for line in lines if (stripped := line.strip())]


def read_mat(file: Path, *keys: str) -> tuple[np.ndarray, ...]:
    """Arrays of a MATLAB file.

    Raises:
        DatasetNotFound: It is missing.
        BadArchive: It is no MATLAB file, or a key is missing.
    """
    from scipy.io import loadmat

    if not file.is_file():
        raise DatasetNotFound(f"{file} is missing; put the official file there")
    try:
        content: dict[str, Any] = loadmat(str(file), variable_names=list(keys), squeeze_me=False)
    except Exception as error:  # broken bytes make scipy raise nearly anything
        raise _unexpected(file, f"{type(error).__name__}: {one_line(error)}") from error
    if missing := [key for key in keys if key not in content]:
        raise _unexpected(file, f"it has no {', '.join(missing)}")
    return tuple(content[key] for key in keys)


def list_images(folder: Path) -> list[str]:
    """Sorted names of the image files of one folder; nothing is opened.

    Raises:
        DatasetNotFound: There is no such folder.
    """
    try:
        found = os.listdir(folder)  # noqa: PTH208  four times as fast as iterdir
    except OSError as error:
        raise DatasetNotFound(
            f"cannot read {folder}: {error.strerror}; unpack the official files anew"
        ) from None
    return sorted(name for name in found if is_image(name))


def is_image(name: str) -> bool:
    """Whether a file is an image by its name; hidden ones are none."""
    return not name.startswith(".") and f".{name.rpartition('.')[2].lower()}" in EXTENSIONS


def by_class(paths: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Class indices of ``class/file`` paths.

    Raises:
        BadArchive: A path is in no known class.
    """
    index_of = {name: index for index, name in enumerate(classes)}
    unknown = sorted({path.split("/")[0] for path in paths} - index_of.keys())
    if unknown:
        raise BadArchive(
            f"a list names the unknown class {unknown[0]!r} (known: {', '.join(classes[:3])} …); "
            "put the official lists there"
        )
    return np.array([index_of[path.split("/")[0]] for path in paths], dtype=np.int64)


def _unexpected(file: Path, reason: str) -> BadArchive:
    return BadArchive(f"{file} is not the official file ({reason}); delete it and start again")
