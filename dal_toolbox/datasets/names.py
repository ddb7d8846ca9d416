"""Names of files and folders as text, and text as names, whatever the locale."""

import os
import re
from contextlib import suppress

from dal_toolbox.io import ERRORS

FOREIGN_BYTE = re.compile("[\udc80-\udcff]")  # of surrogateescape


def as_text(name: str) -> str:
    r"""A name from the system as people read it: as UTF-8, and bytes that are none as Latin-1.

    >>> as_text("M\udcfcller"), as_text("Käse")
    ('Müller', 'Käse')
    """
    return FOREIGN_BYTE.sub(lambda byte: chr(ord(byte[0]) - 0xDC00), as_utf8(name))


def as_utf8(name: str) -> str:
    """A name from the system, read as UTF-8 whatever the locale says; :func:`as_name` turns it back."""
    with suppress(UnicodeEncodeError):
        return os.fsencode(name).decode("utf-8", ERRORS)
    return name


def as_name(text: str) -> str:
    """Text from a file in UTF-8 as the system gives names of files."""
    try:
        return os.fsdecode(text.encode("utf-8", ERRORS))
    except UnicodeEncodeError:  # half a character of UTF-16
        return text
