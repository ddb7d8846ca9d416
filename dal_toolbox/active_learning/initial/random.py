"""Random initial selection."""

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.initial.base import INITIAL, InitialSelection
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.strategies import QueryStrategy


@INITIAL.register("random")
class RandomInitial(InitialSelection):
    """Draws items uniformly; the same ones for every strategy under one seed."""

    def select(
        self, context: QueryContext, n: int, *, strategy: QueryStrategy, oracle: Oracle
    ) -> np.ndarray:
        return context.rng.permutation(context.unlabeled)[:n]

    def describe(self, strategy: QueryStrategy) -> str:
        return "at random, the same ones for every strategy"
