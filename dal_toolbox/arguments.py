"""Checks of arguments: an error begins with the argument and its value, and says what is allowed."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


def positive(**values: Any) -> None:
    """Checks for finite numbers above 0.

    >>> positive(temperature=0.5)
    >>> positive(temperature=0)
    Traceback (most recent call last):
    ...
    ValueError: temperature=0: must be a number above 0
    """
    for name, value in values.items():
        if not (_is_number(value) and value > 0):
            raise ValueError(f"{name}={value!r}: must be a number above 0")


def non_negative(**values: Any) -> None:
    """Checks for finite numbers of at least 0."""
    for name, value in values.items():
        if not (_is_number(value) and value >= 0):
            raise ValueError(f"{name}={value!r}: must be a number of at least 0")


def at_least(minimum: int, /, **values: Any) -> None:
    """Checks for integers of at least ``minimum``.

    >>> at_least(1, k=0)
    Traceback (most recent call last):
    ...
    ValueError: k=0: must be an integer of at least 1
    """
    for name, value in values.items():
        if not (_is_integer(value) and value >= minimum):
            raise ValueError(f"{name}={value!r}: must be an integer of at least {minimum}")


def between(low: float, high: float, /, **values: Any) -> None:
    """Checks for numbers from ``low`` to ``high``, both included."""
    for name, value in values.items():
        if not (_is_number(value) and low <= value <= high):
            raise ValueError(f"{name}={value!r}: must be a number from {low:g} to {high:g}")


def inside(low: float, high: float, /, **values: Any) -> None:
    """Checks for numbers between ``low`` and ``high``, both excluded."""
    for name, value in values.items():
        if not (_is_number(value) and low < value < high):
            raise ValueError(f"{name}={value!r}: must be a number between {low:g} and {high:g}")


def one_of(choices: Iterable[Any], /, **values: Any) -> None:
    """Checks for one of some choices.

    >>> one_of(["l1", "l2"], metric="l3")
    Traceback (most recent call last):
    ...
    ValueError: metric='l3': choose one of l1, l2
    """
    allowed = list(choices)
    for name, value in values.items():
        if value not in allowed:
            raise ValueError(f"{name}={value!r}: choose one of {', '.join(map(str, allowed))}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
