"""A random item of each cluster: the control of the strategies that cluster and pick."""

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cluster_pick import cluster, take_turns
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)


@STRATEGIES.register("random_cluster")
class RandomCluster(QueryStrategy):
    """Clusters the unlabeled items by k-means into n groups and draws one item of each.

    Tells whether a strategy gains from its clusters or from its choice within them. Unit-norm
    features, large clusters first; where fewer than n items are distinct, clusters take turns.
    Needs no classifier. O(N·n·d) for each step of k-means; above 2¹⁸ items a random subset trains
    the centroids.
    """

    needs = FEATURES

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, np.int64)
        clusters = cluster(context, context.unlabeled, n)
        luck = context.rng.permutation(len(context.unlabeled))
        positions = take_turns(clusters.assignments, clusters.sizes, luck, n)
        return context.unlabeled[positions]
