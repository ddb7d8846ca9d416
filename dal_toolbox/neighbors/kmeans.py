"""k-means: greedy k-means++ seeds, Lloyd's algorithm by FAISS, no empty clusters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.neighbors._sides import NotFinite
from dal_toolbox.neighbors.search import CHUNK_BYTES, NotEnoughItems, knn
from dal_toolbox.seeding import draw_seed

SEED_ROWS = 64  # rows for each centroid among which the first centroids are drawn


@dataclass(frozen=True, eq=False)
class KMeans:
    """Clusters of items.

    Attributes:
        centroids: Float32. Shape: (k', d), k' = min(k, number of distinct items).
        assignments: The nearest centroid of every item, the lowest among equals. Each centroid has
            at least one item. Shape: (n,), int64.
        inertia: Sum of the squared distances of the items to their centroids.
    """

    centroids: Tensor
    assignments: Tensor
    inertia: float

    def __len__(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def kmeans(
    features: Tensor,
    k: int,
    *,
    rng: np.random.Generator,
    iterations: int = 20,
    redo: int = 1,
    spherical: bool = False,
    max_points_per_centroid: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> KMeans:
    """Clusters items into k groups.

    On the CPU, equal seeds give equal clusters whatever the number of threads. Items that occur
    more than once enter as one item with a weight; where no more than k are distinct, these are
    the centroids.

    Args:
        features: Finite; held in memory as float32. Shape: (n, d).
        k: Number of clusters, 1 to n.
        rng: Draws the first centroids.
        iterations: Steps of Lloyd's algorithm.
        redo: Number of starts; the one with the smallest inertia stays.
        spherical: Clusters directions: items and centroids are scaled to unit length.
        max_points_per_centroid: Train on a random subset of k times as many items; None: on all.
        chunk_bytes: Bound of the working memory of the assignment.

    Raises:
        NotEnoughItems: k is larger than n.
        NotFinite: An item holds NaN or infinity.

    >>> points = torch.tensor([[0.0], [0.1], [5.0], [5.2]])
    >>> clusters = kmeans(points, 2, rng=np.random.default_rng(0))
    >>> clusters.centroids.sort(dim=0).values.flatten().tolist()
    [0.05000000074505806, 5.099999904632568]
    """
    if not 1 <= k <= len(features):
        raise NotEnoughItems(
            f"k={k} clusters asked of {len(features)} items; choose k from 1 to {len(features)}"
        )
    items = features.detach().float()
    if not bool(torch.isfinite(items).all()):
        raise NotFinite("features hold NaN, infinity or numbers too large for float32")
    if spherical:
        items = F.normalize(items, dim=1)
    centroids, counts = _distinct(items)
    if len(centroids) > k:
        limit = max_points_per_centroid or len(centroids)
        options = {"niter": iterations, "spherical": spherical, "max_points_per_centroid": limit}
        starts = [_train(centroids, counts, k, rng, options) for _ in range(redo)]
        centroids = min(starts, key=lambda start: start[0])[1]
    return _assign(items, centroids.to(items.device), chunk_bytes)


def _distinct(items: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows (u, d) in order of first appearance, and how often each occurs (u,)."""
    rows = np.ascontiguousarray(items.cpu().numpy()) + 0.0  # turns -0.0 into 0.0
    as_bytes = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).squeeze(1)
    _, first, counts = np.unique(as_bytes, return_index=True, return_counts=True)
    order = np.argsort(first)
    return torch.from_numpy(rows[first[order]]), torch.from_numpy(counts[order])


def _train(
    rows: Tensor, counts: Tensor, k: int, rng: np.random.Generator, options: dict[str, Any]
) -> tuple[float, Tensor]:
    """Inertia and centroids of one start."""
    import faiss

    some = torch.arange(len(rows))
    if len(rows) > SEED_ROWS * k:
        some = torch.from_numpy(np.sort(rng.choice(len(rows), SEED_ROWS * k, replace=False)))
    seeds = rows[some][seed_centroids(rows[some], counts[some], k, rng)]
    gpu = faiss.get_num_gpus() > 0
    trainer = faiss.Kmeans(
        rows.shape[1], k, min_points_per_centroid=1, seed=draw_seed(rng), gpu=gpu, **options
    )
    weights = None if bool((counts == 1).all()) else counts.numpy().astype(np.float32)
    trainer.train(rows.numpy(), weights=weights, init_centroids=seeds.numpy())
    return float(np.asarray(trainer.obj)[-1]), torch.from_numpy(trainer.centroids)


def seed_centroids(rows: Tensor, counts: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Greedy k-means++: of a few candidates drawn by D², the one that leaves the least inertia.

    Arthur and Vassilvitskii, 2007, section 4.2, https://dl.acm.org/doi/10.5555/1283383.1283494.

    Args:
        rows: Distinct items. Shape: (n, d).
        counts: How often each occurs. Shape: (n,).
        k: Number of seeds, at most n.
        rng: Draws them.

    Returns:
        Positions of the seeds, in order of choice. Shape: (k,).
    """
    rows = rows - rows.mean(dim=0)
    squares = rows.square().sum(dim=1).double()
    weights = counts.double()
    trials = 2 + int(np.log(k))
    chosen = [_draw(weights, 1, rng)]
    nearest = torch.full((1, len(rows)), float("inf"), dtype=torch.float64)
    while True:
        candidates = chosen[-1]  # (t,)
        products = (rows[candidates] @ rows.T).double()  # (t, n)
        distances = squares[candidates, None] + squares - 2 * products
        distances = distances.clamp_(min=0).minimum(nearest)
        distances[torch.arange(len(candidates)), candidates] = 0
        best = int((distances @ weights).argmin())
        chosen[-1], nearest = candidates[best : best + 1], distances[best : best + 1]
        nearest[0, torch.cat(chosen)] = 0
        if len(chosen) == k:
            return torch.cat(chosen)
        mass = nearest[0] * weights
        if float(mass.sum()) == 0:  # rounded to nothing: any item not yet chosen
            mass[:] = 1
            mass[torch.cat(chosen)] = 0
        chosen.append(_draw(mass, trials, rng))


def _draw(mass: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    cumulative = mass.cumsum(dim=0)
    targets = torch.from_numpy(rng.random(size)) * cumulative[-1]
    return torch.searchsorted(cumulative, targets, right=True).clamp_(max=len(mass) - 1)


def _assign(items: Tensor, centroids: Tensor, chunk_bytes: int) -> KMeans:
    """Assigns every item, and moves each empty centroid onto the item that is worst served."""
    while True:
        found = knn(items, centroids, 1, backend="exact", chunk_bytes=chunk_bytes)
        nearest, distances = found.indices.squeeze(1), found.distances.squeeze(1).double()
        counts = torch.bincount(nearest, minlength=len(centroids))
        empty = (counts == 0).nonzero().squeeze(1)
        if len(empty) == 0:
            return KMeans(centroids, nearest, float(distances.square().sum()))
        shared = torch.where(counts[nearest] > 1, distances, 0.0)
        centroids = centroids.clone()
        if float(shared.max()) > 0:  # the inertia falls, so this ends
            centroids[empty[0]] = items[shared.argmax()]
        else:  # items so near to each other that float32 sees no distance
            centroids = centroids[counts > 0]
