"""What image datasets say in their lists: files, classes and readable words."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dal_toolbox.datasets._decode import EXTENSIONS
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DatasetNotFound

MAX_BYTES = 2**26  # of a list; those of ImageNet take some MB
STRANGE = re.compile(r"[\0-\x08\x0e-\x1f]|.{1000}")  # control characters, or no end


def read_lines(file: Path) -> list[str]:
    """The lines of a text file that are not empty, stripped.

    Raises:
        DatasetNotFound: It is missing, or cannot be read.
        BadArchive: It is no text, or larger than any list.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BadArchive(f"{file} is larger than any official list; put the official one there")
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
    if strange := next((line for line in lines if STRANGE.search(line)), None):
        raise BadArchive(f"{file} is no list ({strange[:40]!r}); put the official one there")
    return [stripped for line in lines if (stripped := line.strip())]


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
            f"a list names the unknown class {unknown[0][:40]!r} (known: {', '.join(classes[:3])} …); "
            "put the official lists there"
        )
    return np.array([index_of[path.split("/")[0]] for path in paths], dtype=np.int64)
