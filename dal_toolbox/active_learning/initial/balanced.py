"""Class-balanced initial selection."""

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.initial.base import INITIAL, InitialSelection
from dal_toolbox.active_learning.oracles import JournaledOracle, Oracle
from dal_toolbox.active_learning.strategies import QueryStrategy
from dal_toolbox.errors import UserError


@INITIAL.register("balanced")
class BalancedInitial(InitialSelection):
    """Draws as many items of every class as possible, at random within the class.

    Looks at the labels of the whole pool: only a simulation can do that. Where n is no multiple
    of the number of classes, random classes get one item more; a class that runs out
    leaves its share to the others.
    """

    looks_at_labels = True

    def select(
        self, context: QueryContext, n: int, *, strategy: QueryStrategy, oracle: Oracle
    ) -> np.ndarray:
        targets = _reveal(oracle)
        items = context.rng.permutation(context.unlabeled[targets[context.unlabeled] >= 0])
        if n > len(items):
            raise UserError(f"n={n} balanced initial items asked of {len(items)} with a target")
        order = context.rng.permutation(targets.max() + 1)[targets[items]]  # of the class
        rounds = np.empty(len(items), dtype=np.int64)  # 0 for the first item of a class, 1, …
        for chosen in np.unique(order):
            rounds[order == chosen] = np.arange((order == chosen).sum())
        return items[np.lexsort((order, rounds))[:n]]

    def describe(self, strategy: QueryStrategy) -> str:
        return "balanced by class, which looks at all labels"


def _reveal(oracle: Oracle) -> np.ndarray:
    if isinstance(oracle, JournaledOracle):
        oracle = oracle.oracle
    if not hasattr(oracle, "reveal"):
        raise UserError(
            f"the balanced initial selection looks at all labels, which {type(oracle).__name__} does "
            f"not know; only a simulation can do that: choose another initial selection"
        )
    return oracle.reveal()
