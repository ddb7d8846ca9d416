"""Hyperparameters: parameters with a default, and values against their annotations."""

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 2**63 - 1  # of the integers that arrays and generators take
NAMES = {
    bool: ("true or false", "true or false"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
}


def hyperparameters(factory: Callable) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of every parameter that has a default.

    >>> def part(items: list, k: int = 20): ...
    >>> hyperparameters(part)
    {'k': (<class 'int'>, 20)}
    """
    try:
        hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    except (NameError, AttributeError, TypeError):  # names that only a type checker imports
        hints = {}
    return {
        key: (hints.get(key, Any), parameter.default)
        for key, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def check_hyperparameters(factory: Callable, values: Mapping[str, Any]) -> None:
    """Checks values against the annotations of a factory.

    A factory that takes ``**changes`` gives its parameters more than one form: only numbers that are
    not finite are refused there.

    Raises:
        ValueError: ``k='many': must be an integer``.
    """
    known = hyperparameters(factory)
    open_ended = any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in inspect.signature(factory).parameters.values()
    )
    for key, value in values.items():
        annotation = known.get(key, (Any, None))[0]
        check_value(key, value, Any if open_ended else annotation)


def check_value(name: str, value: Any, annotation: Any) -> None:
    """Checks one value against an annotation.

    >>> check_value("k", "many", int | None)
    Traceback (most recent call last):
    ...
    ValueError: k='many': must be an integer or null

    Raises:
        ValueError: The value does not fit, is not finite, or is an integer beyond 64 bits.
    """
    path, strange = _strange_number(value)
    if strange is not None:
        limit = "a finite number" if isinstance(strange, float) else "an integer of 64 bits"
        raise ValueError(f"{name}{path}={_short(strange)}: must be {limit}")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"{name}={value!r}: must not hold a zero byte")
    if not fits(value, annotation):
        raise ValueError(f"{name}={_short(value)}: {_wanted(annotation)}")


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of an annotated type; annotations of objects are not judged."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in inner)
    if annotation in (None, NoneType):
        return value is None
    if annotation in (int, float):
        kind = Integral if annotation is int else Real
        return isinstance(value, kind) and not isinstance(value, bool)
    if annotation is str:
        return isinstance(value, str | os.PathLike)
    if origin in (tuple, list, Sequence):
        return _fits_all(value, origin, inner)
    if origin is dict:
        return isinstance(value, Mapping) and all(
            fits(key, inner[0]) and fits(item, inner[1]) for key, item in value.items()
        )
    return not isinstance(annotation, type) or annotation is Any or isinstance(value, annotation)


def describe(annotation: Any, *, plural: bool = False) -> str:
    """An annotation in words.

    >>> describe(tuple[float, float] | None)
    'a list of 2 numbers or null'
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in NAMES:
        return NAMES[annotation][plural]
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (Union, UnionType):
        return " or ".join(describe(part, plural=plural) for part in inner)
    if annotation in (None, NoneType):
        return "null"
    if origin in (tuple, list, Sequence):
        fixed = origin is tuple and Ellipsis not in inner
        number = f"{len(inner)} " if fixed else ""
        return f"{'lists' if plural else 'a list'} of {number}{describe(inner[0], plural=True)}"
    if origin is dict or annotation is dict:
        return "a mapping, such as {k: 3}"
    return getattr(annotation, "__name__", str(annotation))


def _fits_all(value: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    if origin is tuple and Ellipsis not in inner:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(item, inner[0]) for item in value)


def _wanted(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"choose {describe(annotation)}"
    return f"must be {describe(annotation)}"


def _strange_number(value: Any, path: str = "") -> tuple[str, Any]:
    """Path and value of the first number that is not finite or too large, also inside of lists."""
    if isinstance(value, Mapping):
        inside: Any = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        inside = [(path, item) for item in value]
    else:
        strange = (isinstance(value, float) and not math.isfinite(value)) or (
            isinstance(value, int) and abs(value) > LARGEST
        )
        return path, value if strange else None
    found = (_strange_number(item, where) for where, item in inside)
    return next((each for each in found if each[1] is not None), (path, None))


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge integer"
    return text if len(text) <= 80 else f"{text[:77]}..."
