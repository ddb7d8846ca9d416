"""ActiveFT (Xie et al., 2023, https://arxiv.org/abs/2303.14382)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._blocks import rows_of
from dal_toolbox.active_learning.strategies._lloyd import ENTRIES, nearest_center
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.neighbors import knn
from dal_toolbox.progress import log, track

BLOCK = 2**16  # candidates that are searched at a time


@STRATEGIES.register("activeft")
class ActiveFT(QueryStrategy):
    """The items nearest to n points that are moved to lie as the pool lies, but apart.

    The points θ start at random items and minimize, by Adam and on the unit sphere,

        −mean_i max_j cos(xᵢ, θⱼ) / τ  +  mean_j log Σ_{k≠j} exp(cos(θⱼ, θₖ) / τ).

    Then each in turn takes the nearest unlabeled item that is not taken yet, the lowest index among
    equals. Needs no classifier. A method for the first batch; deviation for later ones: labeled
    items are points that stay where they are. Another deviation: above ``batch_size`` items, every
    iteration sees a random subset of that size. O(batch_size·(L + n)·d) an iteration, O(N·n·d)
    to find the items.

    Args:
        temperature: τ.
        num_iterations: Steps of Adam.
        learning_rate: Of Adam.
        batch_size: Items seen by an iteration.
    """

    def __init__(
        self,
        *,
        temperature: float = 0.07,
        num_iterations: int = 300,
        learning_rate: float = 1e-3,
        batch_size: int = 16384,
    ) -> None:
        if temperature <= 0 or num_iterations < 0 or learning_rate <= 0 or batch_size < 1:
            raise ValueError(
                f"temperature={temperature}, learning_rate={learning_rate} and "
                f"batch_size={batch_size} must be positive, num_iterations={num_iterations} not "
                "negative"
            )
        self.temperature = temperature
        self.num_iterations = num_iterations
        self.learning_rate = learning_rate
        self.batch_size = batch_size

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, np.int64)
        start = context.rng.choice(context.unlabeled, n, replace=False)
        return nearest_distinct(
            context, self.move(context, _rows(context, start).astype(np.float64))
        )

    def move(self, context: QueryContext, points: np.ndarray) -> np.ndarray:
        """The points (n, d) where the optimization leaves them."""
        fixed = _rows(context, context.labeled).astype(np.float64)
        size = len(context.features)
        everything = np.arange(size)
        sampled = size > self.batch_size
        if sampled:
            log.info("ActiveFT: an iteration sees %d of %d items", self.batch_size, size)
        items = np.empty(0) if sampled else _rows(context, everything)
        first, second = np.zeros_like(points), np.zeros_like(points)  # moments
        steps = range(1, self.num_iterations + 1)
        for step in track(steps, "ActiveFT") if sampled else steps:
            if sampled:
                batch = context.rng.choice(size, self.batch_size, replace=False, shuffle=False)
                items = _rows(context, np.sort(batch))
            gradient = attraction(items, fixed, points) + repulsion(fixed, points, self.temperature)
            gradient = gradient / self.temperature
            gradient -= (gradient * points).sum(axis=1, keepdims=True) * points  # of a cosine
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient * gradient
            # Adam's 1e-8 keeps rounding errors of float64 from becoming steps.
            change = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            points = _unit(points - self.learning_rate * change)
        return points


def attraction(items: np.ndarray, fixed: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Gradient of −mean_i max_j cos(xᵢ, θⱼ), where j runs over fixed and moving points.

    Args:
        items: x. Shape: (m, d).
        fixed: Points that stay. Shape: (L, d).
        points: Those that move. Shape: (n, d).
    """
    everything = np.concatenate([fixed, points])
    gradient = np.zeros_like(everything)
    nearest = nearest_center(items, everything)
    rows = -(-ENTRIES // items.shape[1])
    for begin in range(0, len(items), rows):
        owner = nearest[begin : begin + rows]
        counts = np.bincount(owner, minlength=len(everything))
        block = items[begin : begin + rows].astype(np.float64)[owner.argsort(kind="stable")]
        used = counts > 0
        starts = (counts.cumsum() - counts)[used]
        gradient[used] -= np.add.reduceat(block, starts, axis=0)
    return gradient[len(fixed) :] / len(items)


def repulsion(fixed: np.ndarray, points: np.ndarray, temperature: float) -> np.ndarray:
    """Gradient of τ mean_j log Σ_{k≠j} exp(cos(θⱼ, θₖ) / τ) with respect to the moving points."""
    everything = np.concatenate([fixed, points])
    gradient = np.zeros_like(everything)
    if len(everything) == 1:
        return gradient
    rows = -(-ENTRIES // len(everything))
    for begin in range(0, len(points), rows):
        block = points[begin : begin + rows]
        cosines = block @ everything.T  # (b, L + n)
        own = np.arange(len(block))
        cosines[own, len(fixed) + begin + own] = -np.inf
        share = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / temperature)
        share /= share.sum(axis=1, keepdims=True)
        gradient[len(fixed) + begin : len(fixed) + begin + len(block)] += share @ everything
        gradient += share.T @ block
    return gradient[len(fixed) :] / len(points)


def nearest_distinct(context: QueryContext, points: np.ndarray) -> np.ndarray:
    """For each point in turn the nearest unlabeled item that is still free. Shape: (n,)."""
    queries = torch.from_numpy(points.astype(np.float32)).to(context.normalized.device)
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
        keys = context.normalized[rows_of(context, part)]
        found = knn(queries, keys, min(k, len(part)), chunk_bytes=context.chunk_bytes)
        indices = np.hstack([indices, part[found.indices.cpu().numpy()]])
        distances = np.hstack([distances, found.distances.cpu().numpy()])
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        indices = np.take_along_axis(indices, order, axis=1)
        distances = np.take_along_axis(distances, order, axis=1)
    return indices


def _rows(context: QueryContext, indices: np.ndarray) -> np.ndarray:
    return context.normalized[rows_of(context, indices)].cpu().numpy()


def _unit(points: np.ndarray) -> np.ndarray:
    norms = np.sqrt((points * points).sum(axis=1, keepdims=True))
    return points / np.maximum(norms, 1e-30)  # zero stays zero
