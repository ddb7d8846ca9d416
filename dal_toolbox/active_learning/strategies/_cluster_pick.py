"""Cluster, then pick: the items nearest to the centroids of n clusters of unit-norm features."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._pool import unit_rows
from dal_toolbox.neighbors import center_finder, kmeans, squared_distances
from dal_toolbox.progress import log

TRAIN_ITEMS = 2**18  # of more items, a random subset trains the centroids …
TRAIN_ITEMS_PER_CLUSTER = 32  # … of at least this many for each
BLOCK = 2**14  # rows that are assigned at a time
ROWS = 2**11  # rows that are scaled at a time: they stay in the cache
# Of a distance: the two items of a pair are equally near to their mean, which is rounded.
DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of candidates.

    Attributes:
        centroids: Float32. Shape: (k, d).
        assignments: The nearest centroid of every candidate, the lowest among equals. Shape: (m,).
        distances: To that centroid, rounded to ``DECIMALS``. Shape: (m,).
        sizes: Number, or total weight, of the candidates of each cluster. Shape: (k,).
    """

    centroids: Tensor
    assignments: np.ndarray
    distances: np.ndarray
    sizes: np.ndarray


def cluster_pick(
    context: QueryContext,
    candidates: np.ndarray,
    n: int,
    *,
    weights: np.ndarray | None = None,
    redo: int = 1,
) -> np.ndarray:
    """Of each of n clusters of the candidates the one nearest to the centroid.

    Large clusters come first. Where fewer than n clusters hold an item, because fewer than n
    candidates are distinct, they take turns with their second nearest, third nearest, ….

    Args:
        context: Gives unit-norm features and the rng that starts k-means.
        candidates: Distinct dataset indices. Shape: (m,).
        n: Number of picks.
        weights: How much each candidate counts in k-means; all the same by default. Shape: (m,).
        redo: Number of starts of k-means; the clusters with the smallest inertia are kept.

    Returns:
        min(n, m) distinct candidates in order of choice: all, as they are given, if n ≥ m. Ties
        go to the candidate given first.
    """
    if n == 0 or n >= len(candidates):
        return candidates[:n].copy()
    clusters = cluster(context, candidates, n, weights=weights, redo=redo)
    return candidates[take_turns(clusters.assignments, clusters.sizes, clusters.distances, n)]


def take_turns(assignments: np.ndarray, sizes: np.ndarray, keys: np.ndarray, n: int) -> np.ndarray:
    """Positions of n items: the first by ``keys`` of each cluster, then the second of each, ….

    Args:
        assignments: Cluster of each item. Shape: (m,).
        sizes: In every round clusters come in descending order of this. Shape: (k,).
        keys: Order within a cluster, ascending. Shape: (m,).
        n: Number of picks, at most m. Shape of the result: (n,).
    """
    order = np.lexsort((keys, assignments))
    counts = np.bincount(assignments, minlength=len(sizes))
    starts = counts.cumsum() - counts
    rounds = np.arange(len(order)) - starts[assignments[order]]
    turns = np.lexsort((-sizes[assignments[order]], rounds))
    return order[turns[:n]]


def fill_at_random(context: QueryContext, picks: np.ndarray, n: int) -> np.ndarray:
    """The picks, and behind them as many other unlabeled items as n lacks."""
    if len(picks) == n:
        return picks
    others = np.setdiff1d(context.unlabeled, picks, assume_unique=True)
    log.info("%d of %d items are drawn at random: no more candidates", n - len(picks), n)
    return np.concatenate([picks, context.rng.permutation(others)[: n - len(picks)]])


def cluster(
    context: QueryContext,
    candidates: np.ndarray,
    k: int,
    *,
    weights: np.ndarray | None = None,
    redo: int = 1,
) -> Clusters:
    """Clusters candidates (m,) into at most k ≤ m groups; see ``cluster_pick``."""
    some, limit = np.arange(len(candidates)), max(TRAIN_ITEMS, TRAIN_ITEMS_PER_CLUSTER * k)
    if len(candidates) > limit:
        log.info("k-means: %d of %d items train %d centroids", limit, len(candidates), k)
        some = np.sort(context.rng.choice(len(candidates), limit, replace=False))
    train, chunk_bytes = unit_rows(context, candidates[some]), context.chunk_bytes
    mass = None if weights is None else torch.from_numpy(weights[some])
    found = kmeans(train, k, rng=context.rng, weights=mass, redo=redo, chunk_bytes=chunk_bytes)
    if len(some) == len(candidates):
        assignments, squared = found.assignments, found.squared_distances
    else:
        del train
        assignments, squared = _nearest(context, candidates, found.centroids)
    distances = squared.sqrt().float().double().cpu().numpy().round(DECIMALS)
    owners = assignments.cpu().numpy()
    sizes = np.bincount(owners, weights=weights, minlength=len(found))
    return Clusters(found.centroids, owners, distances, sizes)


def _nearest(
    context: QueryContext, candidates: np.ndarray, centroids: Tensor
) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each candidate, and the squared distance to it. Shapes: (m,)."""
    parts = []
    step = max(1, len(candidates) // ROWS)
    find = center_finder(unit_rows(context, candidates[::step]), centroids, len(candidates))
    for first in range(0, len(candidates), BLOCK):
        items = unit_rows(context, candidates[first : first + BLOCK])
        nearest = find(items, chunk_bytes=context.chunk_bytes)
        parts.append((nearest, squared_distances(items, centroids, nearest)))
    assignments, squared = zip(*parts, strict=True)
    return torch.cat(assignments), torch.cat(squared)
