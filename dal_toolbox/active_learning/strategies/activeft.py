"""ActiveFT (Xie et al., 2023, https://arxiv.org/abs/2303.14382)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._pool import MAX_COUNT, rows_of, unit_rows
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import at_least, between, positive
from dal_toolbox.neighbors import knn, nearest_center, squared_distances
from dal_toolbox.progress import log, track

BLOCK = 2**16  # candidates that are searched at a time
ENTRIES = 2**20  # of a block of numbers in float64; fixed, so that chunk_bytes cannot change a sum


@STRATEGIES.register("activeft")
class ActiveFT(QueryStrategy):
    """The items nearest to n points that are moved to lie as the pool lies, but apart.

    The points θ start at random items and minimize, by Adam and on the unit sphere,

        −mean_i max_j cos(xᵢ, θⱼ) / τ  +  mean_j log Σ_{k≠j} exp(cos(θⱼ, θₖ) / τ).

    Then each in turn takes the nearest unlabeled item that is not taken yet, the lowest index among
    equals. Needs no classifier. A method for the first batch; deviation for later ones: labeled
    items are points that stay where they are. Another deviation: above ``batch_size`` items, every
    iteration sees a random subset of that size. O((batch_size + L + n)·n·d) an iteration, O(N·L·d)
    once for the distances to labeled items, and O(N·n·d) to find the items.

    Args:
        temperature: τ.
        num_iterations: Steps of Adam.
        learning_rate: Of Adam.
        batch_size: Items seen by an iteration.
    """

    needs = FEATURES

    def __init__(
        self,
        *,
        temperature: float = 0.07,
        num_iterations: int = 300,
        learning_rate: float = 1e-3,
        batch_size: int = 16384,
    ) -> None:
        positive(temperature=temperature, learning_rate=learning_rate)
        at_least(0, num_iterations=num_iterations)
        between(0, MAX_COUNT, num_iterations=num_iterations)
        at_least(1, batch_size=batch_size)
        self.temperature = temperature
        self.num_iterations = num_iterations
        self.learning_rate = learning_rate
        self.batch_size = batch_size

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, np.int64)
        start = unit_rows(context, context.rng.choice(context.unlabeled, n, replace=False))
        return nearest_distinct(context, self.move(context, start.double()))

    def move(self, context: QueryContext, points: Tensor) -> Tensor:
        """The points (n, d), float64, where the optimization leaves them."""
        fixed = unit_rows(context, context.labeled).double()
        size = len(context.features)
        sampled = size > self.batch_size
        if sampled:
            log.info("ActiveFT: an iteration sees %d of %d items", self.batch_size, size)
        batch = np.arange(size)
        items = points if sampled else unit_rows(context, batch)
        known = torch.full((size,), float("nan"), dtype=torch.float64, device=points.device)
        first, second = torch.zeros_like(points), torch.zeros_like(points)  # moments
        steps = range(1, self.num_iterations + 1)
        for step in track(steps, "ActiveFT") if sampled else steps:
            if sampled:
                batch = np.sort(context.rng.choice(size, self.batch_size, False, shuffle=False))
                items = unit_rows(context, batch)
            to_fixed = distances_to_fixed(items, fixed, known, rows_of(context, batch))
            gradient = attraction(items, points, to_fixed)
            gradient += repulsion(fixed, points, self.temperature)
            gradient = gradient / self.temperature
            gradient -= (gradient * points).sum(dim=1, keepdim=True) * points  # of a cosine
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient * gradient
            # Adam's 1e-8 keeps rounding errors of float64 from becoming steps.
            change = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            points = F.normalize(points - self.learning_rate * change, dim=1, eps=1e-30)
        return points


def distances_to_fixed(items: Tensor, fixed: Tensor, known: Tensor, rows: Tensor) -> Tensor:
    """Squared distances to the nearest point that stays, each computed once.

    Args:
        items: x. Shape: (m, d).
        fixed: Points that stay. Shape: (L, d).
        known: Of all items; NaN where not known yet, which this fills in. Shape: (N,).
        rows: Where the items are among all. Shape: (m,).
    """
    if len(fixed) == 0:
        return known.new_full((len(rows),), float("inf"))
    new = known[rows].isnan()
    if new.any():
        unseen = items[new]
        known[rows[new]] = squared_distances(unseen, fixed, nearest_center(unseen, fixed))
    return known[rows]


def attraction(items: Tensor, points: Tensor, to_fixed: Tensor) -> Tensor:
    """Gradient of −mean_i max_j cos(xᵢ, θⱼ), where j runs over fixed and moving points.

    Args:
        items: x. Shape: (m, d).
        points: Those that move. Shape: (n, d).
        to_fixed: Squared distances to the nearest of those that stay, which win ties. Shape: (m,).
    """
    nearest = nearest_center(items, points)
    attracted = squared_distances(items, points, nearest) < to_fixed
    nearest = nearest.where(attracted, len(points))
    gradient = points.new_zeros((len(points) + 1, points.shape[1]))
    size = -(-ENTRIES // items.shape[1])
    for owner, block in zip(nearest.split(size), items.split(size), strict=True):
        gradient.index_add_(0, owner, block.double(), alpha=-1)
    return gradient[:-1] / len(items)


def repulsion(fixed: Tensor, points: Tensor, temperature: float) -> Tensor:
    """Gradient of τ mean_j log Σ_{k≠j} exp(cos(θⱼ, θₖ) / τ) with respect to the moving points."""
    everything = torch.cat([fixed, points])
    gradient = torch.zeros_like(points)
    if len(everything) == 1:
        return gradient
    size = -(-ENTRIES // len(everything))
    for begin in range(0, len(points), size):
        block = points[begin : begin + size]
        cosines = block @ everything.T  # (b, L + n)
        cosines.diagonal(len(fixed) + begin)[: len(block)] = float("-inf")
        share = cosines.div_(temperature).softmax(dim=1)
        gradient[begin : begin + len(block)] += share @ everything
        gradient.addmm_(share[:, len(fixed) :].T, block)
    return gradient / len(points)


def nearest_distinct(context: QueryContext, points: Tensor) -> np.ndarray:
    """For each point in turn the nearest unlabeled item that is still free. Shape: (n,)."""
    queries = points.float()
    picks: dict[int, None] = {}  # in order, and quick to ask
    k = 1
    while len(picks) < len(points):
        k = min(4 * k, len(context.unlabeled))
        for row in _nearest(context, queries[len(picks) :], k):
            free = [item for item in row.tolist() if item not in picks]
            if not free:
                break  # more neighbors are needed
            picks[free[0]] = None
    return np.fromiter(picks, np.int64, len(points))


def _nearest(context: QueryContext, queries: Tensor, k: int) -> np.ndarray:
    """The k nearest unlabeled items of each query, by (distance, index). Shape: (m, k)."""
    indices = np.empty((len(queries), 0), np.int64)
    distances = np.empty((len(queries), 0), np.float32)
    for begin in range(0, len(context.unlabeled), BLOCK):
        part = context.unlabeled[begin : begin + BLOCK]
        keys = unit_rows(context, part)
        found = knn(queries, keys, min(k, len(part)), chunk_bytes=context.chunk_bytes)
        indices = np.hstack([indices, part[found.indices.cpu().numpy()]])
        distances = np.hstack([distances, found.distances.cpu().numpy()])
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        indices = np.take_along_axis(indices, order, axis=1)
        distances = np.take_along_axis(distances, order, axis=1)
    return indices
