"""Several strategies that choose in turn."""

from typing import Any

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._bases import build_bases, needs_of
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size


@STRATEGIES.register("ensemble")
class Ensemble(QueryStrategy):
    """Merges the picks of several strategies: each in turn gives its best item not yet taken.

    Every strategy is asked for n items; the first strategy begins. Works at cold start where its
    members do. The cost is the sum of theirs.

    Args:
        strategies: Names of the members.
        options: Hyperparameters of members, by name: ``{margin: {}, typiclust: {max_clusters: 100}}``.
    """

    def __init__(
        self,
        *,
        strategies: tuple[str, ...] = ("typiclust", "margin"),
        options: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.strategies = strategies
        self.options = options
        self._members = build_bases(strategies, options, "ensemble")
        self.needs = needs_of(self._members.values())

    @property
    def starts_cold(self) -> bool:
        return all(member.starts_cold for member in self._members.values())

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        wishes = [member.query(context, n) for member in self._members.values()]
        return take_turns(wishes, np.arange(n) % len(wishes))


def take_turns(wishes: list[np.ndarray], turns: np.ndarray) -> np.ndarray:
    """Item t is the first of list ``turns[t]`` that was not taken before.

    Args:
        wishes: At least ``len(turns)`` distinct items each, the best first.
        turns: Positions in ``wishes``. Shape: (n,).

    >>> take_turns([np.array([4, 5]), np.array([4, 6])], np.array([0, 1]))
    array([4, 6])
    """
    taken: set[int] = set()
    positions = [0] * len(wishes)
    picks = np.empty(len(turns), dtype=np.int64)
    for t, who in enumerate(turns.tolist()):
        while (item := int(wishes[who][positions[who]])) in taken:
            positions[who] += 1
        taken.add(item)
        picks[t] = item
    return picks
