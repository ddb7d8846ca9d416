"""The radius of balls that are pure in pseudo-labels (Yehuda et al., 2022, section 3.2)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.neighbors import kmeans, knn
from dal_toolbox.progress import log

QUERIES = 20_000  # balls that purity is measured on; the error of their share is 0.0015 at 0.95
KMEANS_POINTS = 50_000  # items that train the clusters, at least
WIDEST = 2.0  # distance of opposite unit vectors


def pure_radius(
    x: Tensor, num_clusters: int, purity: float, *, rng: np.random.Generator, chunk_bytes: int
) -> float:
    """The largest δ such that a share ``purity`` of the open balls of radius δ hold one cluster only.

    Clusters are those of k-means. A ball is pure up to the distance of its nearest item of another
    cluster, so δ is a quantile of these distances: exact, without a search. Beyond 20,000 items
    it is that of a random subset of the balls.

    Args:
        x: Shape: (n, d), unit norm.
        num_clusters: At most n are made.
        purity: In (0, 1].
        rng: Starts k-means, draws the subset.
        chunk_bytes: Bound of the working memory.
    """
    k = min(num_clusters, len(x))
    limit = max(256, -(-KMEANS_POINTS // k))
    clusters = kmeans(x, k, rng=rng, max_points_per_centroid=limit, chunk_bytes=chunk_bytes)
    queries = torch.arange(len(x), device=x.device)
    if len(x) > QUERIES:
        log.info("purity is measured on %s of %s balls", f"{QUERIES:,}", f"{len(x):,}")
        drawn = np.sort(rng.choice(len(x), QUERIES, replace=False))
        queries = torch.from_numpy(drawn).to(x.device)
    distances = first_impure(x, clusters.assignments, queries, chunk_bytes=chunk_bytes)
    impure = distances.sort().values
    radius = impure[min(int((1 - purity) * len(impure) + 1e-9), len(impure) - 1)]
    if radius.isinf():
        return WIDEST
    # One step down, for the distances were rounded to float32: the ball stays pure.
    return float(torch.nextafter(radius, torch.zeros_like(radius)))


def first_impure(x: Tensor, clusters: Tensor, queries: Tensor, *, chunk_bytes: int) -> Tensor:
    """Distance of items to the nearest item of another cluster; inf if there is none.

    Items in order of their cluster are halved again and again: each half looks for neighbors in the
    other one, so that every pair of clusters meets once and no distance is computed twice.

    Args:
        x: Shape: (n, d).
        clusters: Shape: (n,), from 0.
        queries: Positions of the items that are asked for, ascending. Shape: (q,).
        chunk_bytes: Bound of the working memory.

    Returns:
        Float32. Shape: (q,).
    """
    order = clusters.argsort(stable=True)
    keys = x[order]
    asked = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    asked[queries] = True
    rows = asked[order].nonzero().squeeze(1)  # positions of the queries in keys
    nearest = torch.full((len(x),), torch.inf, device=x.device)
    ends = torch.bincount(clusters).cumsum(0).tolist()
    _halve(keys, rows, nearest, [0, *ends], chunk_bytes)
    result = torch.empty_like(nearest)
    result[order] = nearest
    return result[queries]


def _halve(
    keys: Tensor, rows: Tensor, nearest: Tensor, bounds: list[int], chunk_bytes: int
) -> None:
    """Lowers ``nearest`` by the distances between clusters; cluster j is bounds[j] : bounds[j + 1]."""
    if len(bounds) < 3:
        return
    middle = len(bounds) // 2
    first, split, last = bounds[0], bounds[middle], bounds[-1]
    for mine, other in (((first, split), (split, last)), ((split, last), (first, split))):
        some = rows[(rows >= mine[0]) & (rows < mine[1])]
        if len(some) and other[0] < other[1]:
            found = knn(keys[some], keys[slice(*other)], 1, chunk_bytes=chunk_bytes)
            nearest[some] = torch.minimum(nearest[some], found.distances.squeeze(1))
    _halve(keys, rows, nearest, bounds[: middle + 1], chunk_bytes)
    _halve(keys, rows, nearest, bounds[middle:], chunk_bytes)
