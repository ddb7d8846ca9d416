"""Counts and names in messages."""

from collections.abc import Iterable

from dal_toolbox.errors import printable


def counted(number: int, what: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(1200, "class", "classes")
    ('1 image', '1,200 classes')
    """
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in quotes, the first of them if there are many.

    >>> listed(["dog", "cat", "cow"], 2)
    "'cat', 'cow' and 1 more"
    """
    shown = sorted(names)
    more = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return ", ".join(f"'{printable(name)}'" for name in shown[:most]) + more
