"""k-means: greedy k-means++ seeds, Lloyd's algorithm, no empty clusters."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.arguments import at_least, one_of
from dal_toolbox.neighbors._distinct import Distinct
from dal_toolbox.neighbors._faiss import train_centroids
from dal_toolbox.neighbors._leading import center_finder
from dal_toolbox.neighbors._lloyd import train
from dal_toolbox.neighbors._nearest import blocks, nearest_center, squared_distances
from dal_toolbox.neighbors._seeds import seed_centroids
from dal_toolbox.neighbors._sides import LARGEST_NORM, NotFinite
from dal_toolbox.neighbors.search import CHUNK_BYTES, NotEnoughItems
from dal_toolbox.seeding import draw_seed

SEED_ITEMS = 64  # for each centroid, among which the first centroids for FAISS are drawn


@dataclass(frozen=True, eq=False)
class KMeans:
    """Clusters of items.

    Attributes:
        centroids: Float32. Shape: (k', d), k' = min(k, number of distinct items that weigh).
        assignments: The nearest centroid of every item, the lowest among equals. Each centroid has
            at least one item. Shape: (n,), int64.
        squared_distances: Of the items to their centroids. Shape: (n,), float64.
        inertia: Sum of the (weighted) squared distances of the items to their centroids.
    """

    centroids: Tensor
    assignments: Tensor
    squared_distances: Tensor
    inertia: float

    def __len__(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def kmeans(
    features: Tensor,
    k: int,
    *,
    rng: np.random.Generator,
    weights: Tensor | None = None,
    iterations: int = 20,
    redo: int = 1,
    spherical: bool = False,
    max_points_per_centroid: int | None = None,
    backend: Literal["torch", "faiss"] = "torch",
    chunk_bytes: int = CHUNK_BYTES,
) -> KMeans:
    """Clusters items into k groups.

    Lloyd's algorithm from k-means++ seeds: first on a sample of 64 items for each centroid, then on
    samples four times as large and below half of all, at last on all, each from the centroids of
    the one before, until at most 2 % of the items change their centroid. O(n·k·d) for each step on all items.

    With the backend ``"faiss"`` its k-means takes so many steps from k-means++ seeds, on GPUs if it
    has some; ``benchmarks/kmeans.py`` compares the two.

    On the CPU, equal seeds give equal clusters whatever the number of threads. Items that occur
    more than once enter as one item with a weight; where no more than k are distinct, these are
    the centroids.

    Args:
        features: Finite; used as float32. Shape: (n, d).
        k: Number of clusters, 1 to n.
        rng: Draws the first centroids.
        weights: How much each item counts, not negative, some positive; items of weight 0 have no
            influence on the centroids; all 1 by default. Shape: (n,).
        iterations: Upper bound of the steps of Lloyd's algorithm on each sample.
        redo: Number of starts; the one with the smallest inertia stays.
        spherical: Clusters directions: items and centroids are scaled to unit length.
        max_points_per_centroid: Train on a random subset of k times as many items; None: on all.
        backend: Whose steps.
        chunk_bytes: Bound of the working memory where float32 cannot tell the nearest centroid.

    Raises:
        NotEnoughItems: k is larger than n.
        NotFinite: An item holds NaN or infinity.

    >>> points = torch.tensor([[0.0], [0.1], [5.0], [5.2]])
    >>> clusters = kmeans(points, 2, rng=np.random.default_rng(0))
    >>> clusters.centroids.sort(dim=0).values.flatten().tolist()
    [0.05000000074505806, 5.099999904632568]
    """
    at_least(0, iterations=iterations)
    at_least(1, redo=redo)
    one_of(_TRAINERS, backend=backend)
    if not 1 <= k <= len(features):
        raise NotEnoughItems(
            f"k={k} clusters asked of {len(features)} items; choose k from 1 to {len(features)}"
        )
    items = features.detach().float()
    _check_finite(items)
    if spherical:
        items = F.normalize(items, dim=1)
    weights = items.new_ones(len(items)) if weights is None else weights.to(items.device)
    weights = weights.double()
    distinct = Distinct.of(items)
    total = distinct.add(weights)  # of the distinct items
    training = (total > 0).nonzero().squeeze(1)
    if len(training) <= k:
        centroids = items[distinct.first[training]]
        return _finish(items, weights, centroids, nearest_center(items, centroids))
    limit = k * max_points_per_centroid if max_points_per_centroid else len(training)
    if limit < len(training):
        training = training[np.sort(rng.choice(len(training), limit, replace=False))]
    whole = len(training) == len(items)
    rows = items if whole else items[distinct.first[training]]
    starts = []
    for _ in range(redo):
        centroids, nearest = _TRAINERS[backend](
            rows, total[training], k, rng=rng, iterations=iterations, spherical=spherical
        )
        if not whole:
            find = center_finder(rows, centroids, len(items))
            nearest = find(items, chunk_bytes=chunk_bytes)
        starts.append(_finish(items, weights, centroids, nearest))
    return min(starts, key=lambda start: start.inertia)


def _train_by_faiss(
    items: Tensor, weights: Tensor, k: int, *, rng: np.random.Generator, **options: Any
) -> tuple[Tensor, Tensor]:
    """As ``_lloyd.train``."""
    some = torch.arange(len(items))
    if len(items) > SEED_ITEMS * k:
        some = torch.from_numpy(np.sort(rng.choice(len(items), SEED_ITEMS * k, replace=False)))
    rows = items[some]
    seeds = rows[seed_centroids(rows, weights[some], k, rng)]
    centroids = train_centroids(items, weights, seeds, seed=draw_seed(rng), **options)
    return centroids, nearest_center(items, centroids)


_TRAINERS = {"torch": train, "faiss": _train_by_faiss}


def _finish(items: Tensor, weights: Tensor, centroids: Tensor, nearest: Tensor) -> KMeans:
    """Moves each centroid without items onto the item that is worst served."""
    squared = squared_distances(items, centroids, nearest)
    while True:
        counts = torch.bincount(nearest, minlength=len(centroids))
        empty = (counts == 0).nonzero().squeeze(1)
        if len(empty) == 0:
            return KMeans(centroids, nearest, squared, float(squared @ weights))
        shared = torch.where(counts[nearest] > 1, squared * weights, 0.0)
        if float(shared.max()) == 0:  # items so near to each other that float32 sees no distance
            renumbered = (counts > 0).cumsum(0) - 1
            centroids, nearest = centroids[counts > 0], renumbered[nearest]
            continue
        centroids, mine = centroids.clone(), empty[0]  # the inertia falls, so this ends
        centroids[mine] = items[shared.argmax()]
        other = squared_distances(items, centroids, mine.expand(len(items)))
        closer = (other < squared) | ((other == squared) & (mine < nearest))
        squared, nearest = squared.where(~closer, other), nearest.where(~closer, mine)


def _check_finite(items: Tensor) -> None:
    norms = [torch.linalg.vector_norm(block, dim=1) for _, block in blocks(items, items.shape[1])]
    if not all(bool((norm < LARGEST_NORM).all()) for norm in norms):
        raise NotFinite("features hold NaN, infinity or numbers too large for float32")
