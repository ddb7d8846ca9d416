"""Lloyd's algorithm on growing samples: each starts where the smaller one ended."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.neighbors._leading import Leading, pays
from dal_toolbox.neighbors._nearest import blocks, nearest_center, squared_distances
from dal_toolbox.neighbors._seeds import seed_centroids

Assign = Callable[[Tensor], Tensor]  # centroids (k, d) -> the nearest of each item (n,)
SAMPLE = 64  # items of the first sample for each centroid
GROWTH = 4  # from one sample to the next
SETTLED = 0.02  # share of items that change their centroid in the last step


def train(
    items: Tensor,
    weights: Tensor,
    k: int,
    *,
    rng: np.random.Generator,
    iterations: int,
    spherical: bool = False,
) -> tuple[Tensor, Tensor]:
    """Centroids (k, d) float32, and the nearest of each item (n,).

    Args:
        items: Distinct, float32, more than k. Shape: (n, d).
        weights: Positive. Shape: (n,), float64.
        k: Number of centroids.
        rng: Draws the samples and the first centroids.
        iterations: Upper bound of the steps on each sample.
        spherical: Scales centroids to unit length.
    """
    n, size = len(items), SAMPLE * k
    order = torch.from_numpy(rng.permutation(n)) if n > size else torch.arange(n)
    some = order[:size].sort().values
    rows = items[some]
    centroids = rows[seed_centroids(rows, weights[some], k, rng)]
    small = 2 * size >= n  # a sample would cost as much as all items, and a copy of them
    if not small or pays(n, k, items.shape[1]):
        steps = min(iterations, 1) if small else iterations
        centroids, _ = lloyd(rows, weights[some], centroids, steps, spherical)
    leading = Leading.of(rows, centroids, n)
    short = None if leading is None else leading.short(items)
    while 2 * GROWTH * size < n:
        size *= GROWTH
        some = order[:size].sort().values
        rows = items[some]
        assign = _assigner(rows, leading, None if short is None else short[some])
        centroids, _ = lloyd(rows, weights[some], centroids, iterations, spherical, assign)
    del rows  # memory that the last steps need
    assign = _assigner(items, leading, short)
    return lloyd(items, weights, centroids, iterations, spherical, assign)


def _assigner(items: Tensor, leading: Leading | None, short: Tensor | None) -> Assign:
    if leading is None:
        return partial(nearest_center, items)
    return partial(leading.nearest, items, short=short)


def lloyd(
    items: Tensor,
    weights: Tensor,
    centroids: Tensor,
    iterations: int,
    spherical: bool = False,
    assign: Assign | None = None,
) -> tuple[Tensor, Tensor]:
    """Centroids that (nearly) minimize Σᵢ wᵢ minⱼ ‖xᵢ − cⱼ‖², and the nearest of each item.

    Ends when no more than the share ``SETTLED`` of the items change. A centroid without items moves to the item
    that adds most to the sum. Sums are in float64, in a fixed order. ``assign`` finds the nearest of
    given centroids for each item; ``nearest_center`` by default.
    """
    assign = assign or partial(nearest_center, items)
    nearest = assign(centroids)
    sums = _add(centroids.new_zeros(centroids.shape, dtype=torch.float64), items, weights, nearest)
    for _ in range(iterations):
        centroids = _means(items, weights, nearest, sums, centroids)
        if spherical:
            centroids = F.normalize(centroids, dim=1)
        before, nearest = nearest, assign(centroids)
        moved = (nearest != before).nonzero().squeeze(1)
        if len(moved) <= SETTLED * len(items):
            break
        _add(sums, items, weights, nearest, moved)
        _add(sums, items, -weights, before, moved)
    return centroids, nearest


def _add(
    sums: Tensor, items: Tensor, weights: Tensor, nearest: Tensor, rows: Tensor | None = None
) -> Tensor:
    """Adds weighted items (of ``rows`` only) to the sums (k, d) of their clusters."""
    for part, block in blocks(items, 4 * items.shape[1], rows):
        which = part if rows is None else rows[part]
        sums.index_add_(0, nearest[which], block.double().mul_(weights[which, None]))
    return sums


def _means(
    items: Tensor, weights: Tensor, nearest: Tensor, sums: Tensor, centroids: Tensor
) -> Tensor:
    counts = torch.bincount(nearest, minlength=len(sums))
    mass = torch.bincount(nearest, weights=weights, minlength=len(sums))
    means = (sums / mass[:, None]).float()
    empty = (counts == 0).nonzero().squeeze(1)
    if len(empty):
        costs = weights * squared_distances(items, centroids, nearest)
        worst = costs.argsort(descending=True, stable=True)[: len(empty)]
        means[empty] = items[worst]
        sums[empty] = 0  # what rounding left
    return means
