"""Targets in blocks of near ones, so that a pick changes the coverage of few blocks."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._cover_kernel import ROWS, CoverKernel
from dal_toolbox.neighbors import kmeans
from dal_toolbox.seeding import generator

NUMBER = 64  # of clusters, at most
TRAINED_ON = 32  # items for each cluster
SMALLEST = 256  # mean size of a cluster; smaller ones make slow products
WIDEST = 4096  # targets of a block


def near_clusters(read: Callable[[np.ndarray], Tensor], items: np.ndarray, number: int) -> Tensor:
    """A cluster of each item, by k-means on a few of them.

    No pick depends on the clusters, so neither does one on this seed.

    Args:
        read: Gives rows for items, (k,) -> (k, d).
        items: Shape: (n,).
        number: Of clusters, at most.

    Returns:
        Shape: (n,).
    """
    number = min(number, NUMBER, len(items) // SMALLEST)
    if number < 2:
        return torch.zeros(len(items), dtype=torch.int64)
    some = read(items[:: max(1, len(items) // (TRAINED_ON * number))])
    centers = kmeans(some, number, rng=generator(0, "clusters"), iterations=10).centroids
    centers = centers.to(some.device)
    squares = centers.square().sum(dim=1)
    blocks = np.array_split(items, -(-len(items) // ROWS))
    return torch.cat(
        [torch.addmm(squares, read(part), centers.T, alpha=-2).argmin(dim=1) for part in blocks]
    )


def near_blocks(kernel: CoverKernel) -> list[Tensor]:
    """Positions of the targets, block by block, none wider than 4096."""
    clusters = kernel.targets.new_zeros(len(kernel.features))
    if kernel.clusters is not None:
        clusters = kernel.clusters
    mine = clusters[kernel.targets]
    order = (mine * len(kernel.features) + kernel.targets).argsort()
    blocks = order.split(torch.bincount(mine).tolist())
    return [part for block in blocks if len(block) for part in block.split(WIDEST)]


def as_slice(indices: Tensor) -> slice | Tensor:
    """Consecutive indices as a slice, which is read without a copy."""
    start, stop = int(indices[0]), int(indices[-1]) + 1
    same = stop - start == len(indices) and bool((indices.diff() == 1).all())
    return slice(start, stop) if same else indices
