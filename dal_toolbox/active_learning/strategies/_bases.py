"""Strategies that other strategies are made of."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy
from dal_toolbox.errors import UserError


def build_base(name: str, options: dict[str, Any] | None, user: str) -> QueryStrategy:
    """The strategy ``name`` with hyperparameters ``options``, for the strategy ``user``.

    Raises:
        UnknownName: There is no such strategy.
        UserError: It is ``user`` itself, or does not take the options.
    """
    if name == user:
        raise UserError(f"strategy '{user}' cannot be made of itself; choose another base")
    try:
        return STRATEGIES.build(name, **(options or {}))
    except TypeError as error:
        raise UserError(f"options {options} of strategy '{name}' in '{user}': {error}") from error


def build_bases(
    names: Sequence[str], options: dict[str, dict[str, Any]] | None, user: str
) -> dict[str, QueryStrategy]:
    """Strategies by name; ``options`` holds the hyperparameters of some of them, by name.

    Raises:
        UserError: No name, one twice, or options for a strategy that is not among them.
    """
    options = options or {}
    strangers = sorted(set(options) - set(names))
    if strangers or not names or len(set(names)) < len(names):
        wrong = f"options for {strangers}" if strangers else "give different names, at least one"
        raise UserError(f"strategies={list(names)} of '{user}': {wrong}")
    return {name: build_base(name, options.get(name), user) for name in names}


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
