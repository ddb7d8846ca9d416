"""Strategies that other strategies are made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy
from dal_toolbox.errors import UserError

T = TypeVar("T")


def build_base(
    name: str,
    options: Mapping[str, Any] | None,
    user: str,
    *,
    key: str = "base",
    options_key: str = "base_options",
) -> QueryStrategy:
    """The strategy ``name`` with hyperparameters ``options``, for the strategy ``user``.

    Args:
        name: Name in the registry.
        options: Hyperparameters by name.
        user: Name of the strategy that is made of it.
        key: Parameter of ``user`` that holds the name, for messages.
        options_key: Parameter of ``user`` that holds the options, for messages.

    Raises:
        ValueError: There is no such strategy, it is ``user`` itself, or it refuses the options.
    """
    check_options(options, options_key)
    if not isinstance(name, str):
        raise ValueError(f"{key}={name!r}: must be the name of a strategy")
    if name == user:
        raise ValueError(f"{key}={name!r}: a strategy cannot be made of itself")
    try:
        factory = STRATEGIES[name]
    except UserError as error:
        raise ValueError(f"{key}={name!r}: {error}") from error
    try:
        return factory(**(options or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{options_key}={options!r}: strategy '{name}': {error}") from error


def build_bases(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None, user: str
) -> dict[str, QueryStrategy]:
    """Strategies by name; ``options`` holds the hyperparameters of some of them, by name.

    Raises:
        ValueError: No name, one twice, or options for a strategy that is not among them.
    """
    options = check_options(options, "options") or {}
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"strategies={names!r}: must be a list of names, at least one")
    if len(set(map(str, names))) < len(names):
        raise ValueError(f"strategies={names!r}: names must differ")
    strangers = sorted(set(options) - set(names))
    if strangers:
        raise ValueError(f"options={options!r}: {', '.join(strangers)} not among {list(names)}")
    return {
        name: build_base(name, options.get(name), user, key="strategies", options_key="options")
        for name in names
    }


def check_options(options: Mapping[str, T] | None, key: str) -> Mapping[str, T] | None:
    """The options, if they are a mapping of names, or None.

    Raises:
        ValueError: They are something else; ``key`` is the parameter that holds them.
    """
    if options is None or (
        isinstance(options, Mapping) and all(isinstance(k, str) for k in options)
    ):
        return options
    raise ValueError(f"{key}={options!r}: must be a mapping of names, or none")


def needs_of(strategies: Iterable[QueryStrategy]) -> frozenset[str]:
    """What any of them needs."""
    return frozenset[str]().union(*(strategy.needs for strategy in strategies))


def query_part(
    strategy: QueryStrategy, context: QueryContext, items: np.ndarray, n: int
) -> np.ndarray:
    """What a strategy chooses where these (m,) are all unlabeled items that there are. Shape: (n,)."""
    if n == 0:
        return np.empty(0, dtype=np.int64)
    if len(items) == len(context.pool.unlabeled):
        return strategy.query(context, n)
    part, indices = context.part(items)
    return indices[strategy.query(part, n)]
