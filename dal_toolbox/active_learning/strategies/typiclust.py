"""TypiClust (Hacohen et al., 2022, https://arxiv.org/abs/2202.02794)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cluster_pick import (
    TRAIN_ITEMS,
    TRAIN_ITEMS_PER_CLUSTER,
)
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import at_least
from dal_toolbox.neighbors import kmeans, knn, plain_float32
from dal_toolbox.progress import log

SPARE = 4  # neighbors more than needed: so many more picks from a cluster cost no search
ENTRIES = 2**19  # of a block of distances


@STRATEGIES.register("typiclust")
class TypiClust(QueryStrategy):
    """Typical items of the clusters that hold the fewest labels; needs no classifier.

    The unit-norm features are clustered into min(#labeled + n, max_clusters) clusters. Clusters
    take turns, those with the fewest labels first and large before small; each gives its most
    typical unlabeled item. Small clusters wait until all others are used up. Ties go to the lowest
    index; the rng starts k-means. O(N·k·d) for each step of k-means with k clusters, where of more
    than 2¹⁸ items a random subset trains the centroids (this is logged); O(m²·d) in each
    cluster of m items that is visited, in float32; float64 decides where that is unsure.

    Args:
        max_clusters: Upper bound of the number of clusters.
        min_cluster_size: Clusters of this size and below are small.
        num_neighbors: Neighbors that define how typical an item is; at most half of its cluster.
    """

    needs = FEATURES

    def __init__(
        self, *, max_clusters: int = 500, min_cluster_size: int = 5, num_neighbors: int = 20
    ) -> None:
        at_least(1, max_clusters=max_clusters, num_neighbors=num_neighbors)
        at_least(0, min_cluster_size=min_cluster_size)
        self.max_clusters = max_clusters
        self.min_cluster_size = min_cluster_size
        self.num_neighbors = num_neighbors

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        features = context.normalized
        k = min(context.pool.num_labeled + n, self.max_clusters, len(features))
        if n == 0:
            return np.empty(0, np.int64)
        clusters = self._cluster(context, features, k)  # (N,)
        sizes = np.bincount(clusters, minlength=k)
        labeled = np.bincount(clusters[context.labeled], minlength=k)
        small = sizes <= self.min_cluster_size
        turns = np.lexsort((-sizes, labeled))
        members = _split(context.unlabeled, clusters[context.unlabeled], k)
        picks: list[int] = []
        for group in (turns[~small[turns]], turns[small[turns]]):
            queue = [self._in_turn(features, members[c], context.chunk_bytes) for c in group]
            while queue and len(picks) < n:
                for cluster in queue.copy():
                    pick = next(cluster, None) if len(picks) < n else None
                    if pick is None:
                        queue.remove(cluster)
                    else:
                        picks.append(pick)
        return np.array(picks, dtype=np.int64)

    def _cluster(self, context: QueryContext, features: Tensor, k: int) -> np.ndarray:
        limit = max(TRAIN_ITEMS // k, TRAIN_ITEMS_PER_CLUSTER)
        if len(features) > limit * k:
            log.info("TypiClust: %d of %d items train %d centroids", limit * k, len(features), k)
        found = kmeans(
            features,
            k,
            rng=context.rng,
            max_points_per_centroid=limit,
            chunk_bytes=context.chunk_bytes,
        )
        return found.assignments.cpu().numpy()

    def _in_turn(self, features: Tensor, members: np.ndarray, chunk_bytes: int) -> Iterator[int]:
        """The members of a cluster, each time the most typical of those that are left."""
        while len(members) > 1:
            k = min(self.num_neighbors, len(members) // 2)
            x = features[torch.from_numpy(members).to(features.device)]
            squared, indices, error = _neighbors(x, min(k + SPARE, len(members) - 1))
            left = torch.ones(len(members), dtype=torch.bool, device=x.device)
            for remaining in range(len(members), len(members) - SPARE - 1, -1):
                if remaining < 2 or min(self.num_neighbors, remaining // 2) != k:
                    break
                means = _mean_of_first(squared, left[indices], k).masked_fill_(~left, float("inf"))
                close = (means <= means.min() + 2 * error).nonzero().squeeze(1)
                if len(close) > 1:
                    close = close[
                        typicality(x[close], x[left], k, chunk_bytes=chunk_bytes).argmax()
                    ]
                best = int(close)
                left[best] = False
                yield int(members[best])
            members = members[left.cpu().numpy()]
        yield from members.tolist()


def typicality(items: Tensor, others: Tensor, k: int, *, chunk_bytes: int) -> Tensor:
    """1 / (mean squared distance to the k nearest of the others + 1e-5).

    Shapes: (m, d), (n, d) -> (m,). The items are among the others; they are not their own neighbors.
    """
    distances = knn(items, others, k + 1, chunk_bytes=chunk_bytes).distances[:, 1:]
    return 1 / (distances.double().square().mean(dim=1) + 1e-5)


def _neighbors(x: Tensor, k: int) -> tuple[Tensor, Tensor, float]:
    """Squared distances in float32 to the k nearest others (m, k), positions, the largest error."""
    squares = x.square().sum(dim=1)
    parts = []
    with plain_float32():
        for own in torch.arange(len(x), device=x.device).split(max(1, ENTRIES // len(x))):
            tile = torch.addmm(squares, x[own], x.T, alpha=-2).add_(squares[own, None])
            tile[own - own[0], own] = float("inf")
            parts.append(tile.topk(k, dim=1, largest=False))
    values, indices = zip(*parts, strict=True)
    # Twice the bound of Higham (2002), section 3.1, for the sums of squares and products.
    error = 4 * (x.shape[1] + 16) * 2.0**-24 * float(squares.max())
    return torch.cat(values), torch.cat(indices), error


def _mean_of_first(squared: Tensor, present: Tensor, k: int) -> Tensor:
    """Mean of the first k present entries of ascending rows. Shapes: (m, w), (m, w) -> (m,)."""
    counts = present & (present.cumsum(dim=1) <= k)
    return (squared * counts).sum(dim=1) / k


def _split(items: np.ndarray, clusters: np.ndarray, k: int) -> list[np.ndarray]:
    """The items of each of k clusters, in their order."""
    order = np.argsort(clusters, kind="stable")
    return np.split(items[order], np.searchsorted(clusters[order], np.arange(1, k)))
