"""No initial selection: the strategy starts cold."""

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.initial.base import INITIAL, InitialSelection
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.strategies import QueryStrategy


@INITIAL.register("none")
class ColdStart(InitialSelection):
    """The strategy itself makes the first choice, without a label."""

    def select(
        self, context: QueryContext, n: int, *, strategy: QueryStrategy, oracle: Oracle
    ) -> np.ndarray:
        return strategy.query(context, n)

    def describe(self, strategy: QueryStrategy) -> str:
        return "by the strategy itself"
