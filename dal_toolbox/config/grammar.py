"""Hydra's grammar of overrides, and its mistakes in plain words."""

import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from dal_toolbox.errors import UserError

MEANT = set("=,()[]{}'\"\\$: ")  # characters that mean something in a value
PAIRS = {"[": "]", "{": "}", "(": ")"}


def parse(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them.

    Raises:
        UserError: Which character cannot be read, and how to quote it.
    """
    parsed = []
    for number, text in enumerate(overrides):
        override = _parsed(text)
        if override is None or not override.key_or_group:
            raise UserError(_explanation(text, overrides[number + 1 :]))
        parsed.append(override)
    return parsed


def with_quotes(text: str) -> str:
    """Quotes a value that Hydra cannot read for its letters alone (``/data/Übung``, ``run#1``).

    >>> with_quotes("dataset.root=/data/Übung")
    'dataset.root="/data/Übung"'
    """
    key, equals, value = text.partition("=")
    if not equals or MEANT & set(value) or value.startswith("~") or _parsed(text) is not None:
        return text
    return f'{key}="{value}"' if _parsed(f'{key}="{value}"') is not None else text


def quoted(key: str, value: str) -> str:
    """An override whose value is taken as it stands, as one writes it in a shell."""
    inner = value.replace("\\", "\\\\").replace('"', '\\"')
    return shlex.quote(f'{key}="{inner}"')


def _parsed(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, ValueError, RecursionError):
        return None


def _explanation(text: str, following: Sequence[str]) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        return f"'{text}' has no '=': write key=value"
    if not key:
        return f"'{text}' has no key: write key=value"
    if _parsed(f"{key}=1") is None:
        return f"'{text}': '{key}' is no key; keys are made of letters, digits, '_', '.' and '/'"
    if (bracket := _unclosed(value)) is not None:
        return f"{text}: '{bracket}' is not closed{_whole(text, following)}"
    wrong = _culprit(key, value)
    return (
        f"{text}: {wrong} has a meaning of its own; put the value in quotes: {quoted(key, value)}"
    )


def _whole(text: str, following: Sequence[str]) -> str:
    """The argument that a shell took apart at its spaces."""
    for number in range(1, len(following) + 1):
        joined = " ".join((text, *following[:number]))
        if _parsed(joined) is not None:
            return f"; the shell takes arguments apart at spaces, write {shlex.quote(joined)}"
    return ""


def _unclosed(value: str) -> str | None:
    open_: list[str] = []
    for character in value:
        if character in PAIRS:
            open_.append(character)
        elif open_ and character == PAIRS[open_[-1]]:
            open_.pop()
    return open_[-1] if open_ else None


def _culprit(key: str, value: str) -> str:
    """The first character without which Hydra can read the value."""
    for position, character in enumerate(value):
        without = f"{value[:position]}x{value[position + 1 :]}"
        if not character.isalnum() and _parsed(f"{key}={without}") is not None:
            return f"'{character}' (character {position + 1} of the value)"
    special = [each for each in value if not (each.isalnum() and each.isascii())]
    special = [each for each in special if each in MEANT] or special
    return f"'{special[0]}'" if special else "the value"
