"""Random sampling: the baseline of every comparison."""

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, random_query


@STRATEGIES.register("random")
class RandomSampling(QueryStrategy):
    """Draws items uniformly without replacement."""

    needs = frozenset()

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        return random_query(context, n)
