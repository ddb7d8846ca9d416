"""Weighted k-means by Lloyd's algorithm."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse

from dal_toolbox.neighbors.kmeans import SEED_ROWS, seed_centroids

ITERATIONS = 20
ENTRIES = 2**20  # of one block of products; fixed, so that chunk_bytes cannot change a sum
SMALL = 2**12  # entries that are not worth the way through float32


def weighted_kmeans(
    items: np.ndarray, weights: np.ndarray, k: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Centroids that minimize Σᵢ wᵢ minⱼ ‖xᵢ − cⱼ‖²: Lloyd's algorithm from k-means++ seeds.

    A cluster that runs out of items moves to the item that adds most to the sum. Equal seeds give
    equal centroids, whatever the number of threads.

    Args:
        items: Float32. Shape: (n, d).
        weights: Not negative, some positive; items of weight 0 have no influence. Shape: (n,).
        k: Number of clusters.
        rng: Draws the first centroids.

    Returns:
        Float32; fewer than k where fewer items with a weight are distinct. Shape: (k', d).
    """
    items, weights = _distinct(items[weights > 0], weights[weights > 0])
    if len(items) <= k:
        return items
    some = np.arange(len(items))
    if len(items) > SEED_ROWS * k:
        some = np.sort(rng.choice(len(items), SEED_ROWS * k, replace=False))
    rows = torch.from_numpy(items[some])
    seeds = seed_centroids(rows, torch.from_numpy(weights[some]), k, rng)
    centroids, before = items[some][seeds.numpy()], np.empty(0)
    for _ in range(ITERATIONS):
        nearest = nearest_center(items, centroids)
        if np.array_equal(nearest, before):
            break
        before = nearest
        means, mass = _means(items, weights, nearest, k)
        empty = np.flatnonzero(mass == 0)
        if len(empty):
            costs = weights * _squared_distances(items, centroids, nearest)
            means[empty] = items[np.argsort(-costs, kind="stable")[: len(empty)]]
        centroids = means.astype(np.float32)
    return centroids


def nearest_center(items: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The nearest center of each item, the lowest among equals. Shapes: (n, d), (k, d) -> (n,).

    The largest x·c − ‖c‖²/2 is found in float32. Where the lead of the first is within the bound
    of rounding errors (Higham, 2002, section 3.1), float64 decides, rounded, so that the order of
    a sum does not.
    """
    exact = centers.astype(np.float64)
    half = np.square(exact).sum(axis=1) / 2
    if len(items) * len(centers) <= SMALL:
        return _nearest_in_float64(items, exact, half)
    fast, fast_half = exact.astype(np.float32).T.copy(), half.astype(np.float32)
    norms = np.sqrt(np.square(items).sum(axis=1).max(initial=0)), np.sqrt(2 * half.max())
    error = (items.shape[1] + 16) * 2.0**-24 * (norms[0] + norms[1]) * norms[1]
    nearest = np.empty(len(items), np.int64)
    for part in _blocks(len(items), len(centers)):
        block = items[part].astype(np.float32, copy=False)
        scores = block @ fast - fast_half
        found, rows = scores.argmax(axis=1), np.arange(len(block))
        lead = scores[rows, found]
        scores[rows, found] = -np.inf
        unsure = lead - scores.max(axis=1) <= 2 * error
        if unsure.any():
            found[unsure] = _nearest_in_float64(items[part][unsure], exact, half)
        nearest[part] = found
    return nearest


def _nearest_in_float64(items: np.ndarray, centers: np.ndarray, half: np.ndarray) -> np.ndarray:
    scores = items.astype(np.float64, copy=False) @ centers.T - half
    return scores.astype(np.float32).argmax(axis=1)


def _means(
    items: np.ndarray, weights: np.ndarray, nearest: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means (k, d), zero for empty clusters, and total weights (k,), in float64."""
    mass = np.bincount(nearest, weights=weights, minlength=k)
    sums = np.zeros((k, items.shape[1]))
    for part in _blocks(len(items), items.shape[1]):
        block = items[part].astype(np.float64)
        entries = (nearest[part], np.arange(len(block)))
        sums += sparse.csr_array((weights[part], entries), shape=(k, len(block))) @ block
    return sums / np.where(mass > 0, mass, 1)[:, None], mass


def _squared_distances(items: np.ndarray, centroids: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Of each item to its centroid, float64. Shape: (n,)."""
    squared = np.empty(len(items))
    for part in _blocks(len(items), items.shape[1]):
        difference = items[part].astype(np.float64) - centroids[nearest[part]]
        squared[part] = np.square(difference).sum(axis=1)
    return squared


def _blocks(size: int, width: int) -> Iterator[slice]:
    rows = -(-ENTRIES // width)
    return (slice(first, first + rows) for first in range(0, size, rows))


def _distinct(items: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows in order of first appearance, and the total weight of each."""
    items = np.ascontiguousarray(items, dtype=np.float32) + 0.0  # turns -0.0 into 0.0
    as_bytes = items.view(np.dtype((np.void, items.dtype.itemsize * items.shape[1]))).squeeze(1)
    _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    totals = np.bincount(inverse.ravel(), weights=weights)
    return items[first[order]], totals[order]
