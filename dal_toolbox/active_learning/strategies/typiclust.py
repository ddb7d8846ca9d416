"""TypiClust (Hacohen et al., 2022, https://arxiv.org/abs/2202.02794)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.neighbors import kmeans, knn


@STRATEGIES.register("typiclust")
class TypiClust(QueryStrategy):
    """Typical items of the clusters that hold the fewest labels; needs no classifier.

    The unit-norm features are clustered into min(#labeled + n, max_clusters) clusters. Clusters
    take turns, those with the fewest labels first and large before small; each gives its most
    typical unlabeled item. Small clusters wait until all others are used up. Ties go to the lowest
    index; the rng starts k-means.

    Args:
        max_clusters: Upper bound of the number of clusters.
        min_cluster_size: Clusters of this size and below are small.
        num_neighbors: Neighbors that define how typical an item is; at most half of its cluster.
    """

    def __init__(
        self, *, max_clusters: int = 500, min_cluster_size: int = 5, num_neighbors: int = 20
    ) -> None:
        self.max_clusters = max_clusters
        self.min_cluster_size = min_cluster_size
        self.num_neighbors = num_neighbors

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        features = context.normalized
        k = min(context.pool.num_labeled + n, self.max_clusters, len(features))
        if n == 0:
            return np.empty(0, np.int64)
        clusters = kmeans(features, k, rng=context.rng).assignments.cpu().numpy()  # (N,)
        sizes = np.bincount(clusters, minlength=k)
        labeled = np.bincount(clusters[context.labeled], minlength=k)
        small = sizes <= self.min_cluster_size
        turns = np.lexsort((-sizes, labeled))
        members = _split(context.unlabeled, clusters[context.unlabeled], k)
        picks: list[int] = []
        for group in (turns[~small[turns]], turns[small[turns]]):
            while len(picks) < n and any(len(members[cluster]) for cluster in group):
                for cluster in [c for c in group if len(members[c])][: n - len(picks)]:
                    best = self._most_typical(features, members[cluster], context.chunk_bytes)
                    picks.append(members[cluster][best])
                    members[cluster] = np.delete(members[cluster], best)
        return np.array(picks, dtype=np.int64)

    def _most_typical(self, features: Tensor, members: np.ndarray, chunk_bytes: int) -> int:
        k = min(self.num_neighbors, len(members) // 2)
        if k == 0:
            return 0  # the only one
        x = features[torch.from_numpy(members).to(features.device)]
        return int(typicality(x, k, chunk_bytes=chunk_bytes).argmax())


def typicality(x: Tensor, k: int, *, chunk_bytes: int) -> Tensor:
    """1 / (mean squared distance to the k nearest others + 1e-5). Shapes: (m, d) -> (m,)."""
    distances = knn(x, x, k, exclude_self=True, chunk_bytes=chunk_bytes).distances  # (m, k)
    return 1 / (distances.double().square().mean(dim=1) + 1e-5)


def _split(items: np.ndarray, clusters: np.ndarray, k: int) -> list[np.ndarray]:
    """The items of each of k clusters, in their order."""
    order = np.argsort(clusters, kind="stable")
    return np.split(items[order], np.searchsorted(clusters[order], np.arange(1, k)))
