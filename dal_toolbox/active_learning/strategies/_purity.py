"""The radius of balls that are pure in pseudo-labels (Yehuda et al., 2022, section 3.2)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._distances import Distances
from dal_toolbox.neighbors import kmeans, plain_float32
from dal_toolbox.progress import log

QUERIES = 20_000  # balls that purity is measured on; the error of their share is 0.0015 at 0.95
KMEANS_POINTS = 50_000  # items that train the clusters, at least
WIDEST = 2.0  # distance of opposite unit vectors
HEIGHT, WIDTH = 512, 1024  # of a tile that stays in the cache


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
    rank = min(int((1 - purity) * len(queries) + 1e-9), len(queries) - 1)
    distances = first_impure(x, clusters.assignments, queries, rank=rank, chunk_bytes=chunk_bytes)
    radius = distances.sort().values[rank]
    if radius.isinf():
        return WIDEST
    # One step down, for the distances were rounded to float32: the ball stays pure.
    return float(torch.nextafter(radius, torch.zeros_like(radius)))


def first_impure(
    x: Tensor, clusters: Tensor, queries: Tensor, *, rank: int | None = None, chunk_bytes: int
) -> Tensor:
    """Distance of items to the nearest item of another cluster; inf if there is none.

    The smallest bound leads to an item, whose distance is measured. Items with a bound below that
    are measured next, for queries that can be among the ``rank`` + 1 nearest.

    Args:
        x: Float32. Shape: (n, d).
        clusters: Shape: (n,), from 0.
        queries: Positions of the items that are asked for. Shape: (q,).
        rank: Larger distances than the one that is ``rank``-th (from 0) may be too large.
        chunk_bytes: Bound of the working memory.

    Returns:
        Float32. Shape: (q,).
    """
    search = _Search(x, clusters, chunk_bytes)
    places = clusters[queries].argsort(stable=True)
    rows = queries[places]
    with plain_float32():
        least, squared = search.first(rows)
        last = squared.sort().values[-1 if rank is None else rank]
        near = ((least <= last) & squared.isfinite()).nonzero().squeeze(1)
        squared[near] = search.nearest(rows[near], squared[near])
    result = torch.empty(len(queries), device=x.device)
    result[places] = squared.sqrt().float()
    return result


class _Search:
    """Distances between items of different clusters, tile by tile."""

    def __init__(self, x: Tensor, clusters: Tensor, chunk_bytes: int) -> None:
        self.clusters = clusters
        self.order = clusters.argsort(stable=True)
        self.distances = Distances(x, chunk_bytes)

    def first(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest bound (q,), and the squared distance of an item that has it (q,)."""
        least = torch.full(rows.shape, torch.inf, device=rows.device)
        item = rows.clone()
        for where, columns, masked in self._tiles(rows):
            bounds = self.distances.lower(rows[where], columns)
            if masked is not None:
                bounds.masked_fill_(masked, torch.inf)
            smallest = bounds.amin(dim=1)
            better = (smallest < least[where]).nonzero().squeeze(1)
            least[where][better] = smallest[better]
            item[where][better] = columns[bounds[better].argmin(dim=1)]
        squared = self.distances.exact(rows, item)
        return least, squared.masked_fill_(least.isinf(), torch.inf)

    def nearest(self, rows: Tensor, squared: Tensor) -> Tensor:
        """The smallest squared distances (q,), none larger than those known."""
        squared = squared.clone()
        for where, columns, masked in self._tiles(rows):
            limits = squared[where]
            row, column, _ = self.distances.below(rows[where], columns, limits, masked)
            measured = self.distances.exact(rows[where][row], columns[column])
            limits.scatter_reduce_(0, row, measured, "amin")
        return squared

    def _tiles(self, rows: Tensor) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Slices of rows, columns, and pairs of one cluster if there are any."""
        for start in range(0, len(rows), HEIGHT):
            where = slice(start, start + HEIGHT)
            mine = self.clusters[rows[where]]  # ascending, as those of the columns
            for columns in self.order.split(WIDTH):
                other = self.clusters[columns]
                if mine[-1] < other[0] or other[-1] < mine[0]:
                    yield where, columns, None
                elif not mine[0] == mine[-1] == other[0] == other[-1]:
                    yield where, columns, mine[:, None] == other
