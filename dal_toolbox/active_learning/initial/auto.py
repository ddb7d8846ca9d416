"""The strategy starts by itself if it can."""

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.initial.base import INITIAL, InitialSelection
from dal_toolbox.active_learning.initial.random import RandomInitial
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.strategies import STRATEGIES, QueryStrategy


@INITIAL.register("auto")
class AutoInitial(InitialSelection):
    """Lets strategies that work without labels start themselves; others start as told.

    Runs of different strategies then begin with different labels. To pair strategies by equal initial
    labels, use ``random``.

    Args:
        otherwise: Strategy that starts where the strategy of the run needs labels, such as
            ``typiclust``.
    """

    def __init__(self, *, otherwise: str = "random") -> None:
        if otherwise not in STRATEGIES or not STRATEGIES.build(otherwise).starts_cold:
            raise ValueError(f"otherwise={otherwise!r}: must be a strategy that needs no labels")
        self.otherwise = otherwise

    def select(
        self, context: QueryContext, n: int, *, strategy: QueryStrategy, oracle: Oracle
    ) -> np.ndarray:
        if strategy.starts_cold:
            return strategy.query(context, n)
        if self.otherwise == "random":  # the items of initial=random under the same seed
            return RandomInitial().select(context, n, strategy=strategy, oracle=oracle)
        return STRATEGIES.build(self.otherwise).query(context, n)

    def describe(self, strategy: QueryStrategy) -> str:
        return "by the strategy itself" if strategy.starts_cold else f"by {self.otherwise}"
