"""D² sampling, the seeding of k-means++ (Arthur & Vassilvitskii, 2007), exactly and in few passes.

An item is drawn with probability proportional to D², its squared distance to the nearest item
drawn so far. Naively that is a pass over the pool for each draw. But D² only falls, so an old D² is
an upper bound: items are proposed in proportion to their bounds and accepted with probability
D² / bound, which needs the D² of the proposal alone. That draws from D² exactly (von Neumann's
rejection). The first bounds are (‖gᵢ‖ + ‖gⱼ‖)², for the shortest pick gⱼ. Only when the refused
proposals have cost as much as it would, all new picks meet the pool in one product.

Bounds come from float32 products, widened by more than their rounding error; D² of a proposal is
computed in float64. So neither chunks nor threads decide, but for chances of some 1e-7 a draw.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, nsmallest

import numpy as np
import torch

from dal_toolbox.active_learning.strategies._products import SLACK, Products, squared_distances

PATIENCE = 16  # refused proposals until the bounds are renewed, and more where a pass is costly
QUEUE = 4096  # proposals that are prepared at once
BATCH = 64  # proposals that meet the picks in one product
READING = 32  # picks whose product with the pool takes as long as reading the pool
OVERHEAD = 2**20  # multiplications that take as long as a proposal without them
FLOAT64 = 4  # multiplications of a pass, in float32, that take as long as one of a proposal


def d2_sample(
    points: Products,
    first: int,
    n: int,
    rng: np.random.Generator,
    *,
    factors: np.ndarray | None = None,
    power: float = 1.0,
) -> np.ndarray:
    """Draws n ≥ 1 distinct positions, the first of them given, in order of choice.

    Where all weights are 0, the rest is drawn uniformly from the items not yet drawn.

    Args:
        points: What is drawn from.
        first: Position of the first pick.
        n: Number of picks.
        rng: Of the draws.
        factors: Of the weights factor · (D²)^power; 1 by default. Shape: (len(points),).
        power: Positive.
    """
    factors = np.ones(len(points)) if factors is None else factors
    centers = Centers(points, n)
    centers.squared_distance(first, lambda n: [])
    centers.add(first)
    norms = points.norms.cpu().numpy()
    bounds = np.full(len(points), np.inf)
    seen, refusals = 0, 0  # picks that the bounds know; refused proposals since then
    while len(picks := centers.positions) < n:
        np.minimum(bounds, SLACK * (norms + norms[picks].min()) ** 2, out=bounds)
        patience = _patience(centers, len(picks) - seen)
        if refusals >= patience:
            points.shorten(bounds, picks[seen:])
            seen, refusals = len(picks), 0
        bounds[picks] = 0
        weights = factors * bounds**power
        if not weights.any():
            rest = np.setdiff1d(np.arange(len(points)), picks)
            return np.concatenate([picks, rng.permutation(rest)[: n - len(picks)]]).astype(np.int64)
        refusals += _draw(centers, bounds, weights, power, patience - refusals, rng)
    return np.array(picks, dtype=np.int64)


def _patience(centers: "Centers", new: int) -> int:
    """Refused proposals that cost as much as a pass over the pool with so many new picks."""
    points = centers.points
    refusal = OVERHEAD + FLOAT64 * len(centers.positions) * points.width
    return PATIENCE + len(points) * points.width * (new + READING) // refusal


def _draw(
    centers: "Centers",
    bounds: np.ndarray,
    weights: np.ndarray,
    power: float,
    patience: int,
    rng: np.random.Generator,
) -> int:
    """Adds centers until they are enough, a queue is empty, or too many proposals are refused.

    Lowers bounds, and weights ∝ bounds^power with them. Returns the number of refused proposals.
    """
    refusals = 0
    stream = Proposals(weights, rng)
    for position in stream:
        squared = centers.squared_distance(position, stream.upcoming)
        share = (squared / bounds[position]) ** power
        if rng.random() < share:
            centers.add(position)
            bounds[position] = weights[position] = 0
        else:
            refusals += 1
            bounds[position] = squared
            weights[position] *= share
        if refusals == patience or centers.complete:
            break
    return refusals


class Proposals(Iterator[int]):
    """Positions drawn with replacement in proportion to weights, as many as a queue gives.

    Every position has a clock that strikes at random with its weight as rate; the order of the
    strokes is wanted. Rounding errors of a weight move one clock, not the sum of all weights.
    The weight of the position just drawn may be lowered.
    """

    def __init__(self, weights: np.ndarray, rng: np.random.Generator) -> None:
        self.weights = weights
        self.rng = rng
        with np.errstate(divide="ignore", over="ignore"):
            clocks = rng.standard_exponential(len(weights)) / weights
        first = np.arange(len(weights))
        self._horizon = np.inf
        if len(weights) > QUEUE:
            first = np.argpartition(clocks, QUEUE)[: QUEUE + 1]
            self._horizon = clocks[first].max()
        first = first[clocks[first] < np.inf]
        self._strokes = list(zip(clocks[first].tolist(), first.tolist(), strict=True))
        heapify(self._strokes)
        self._last: tuple[float, int] | None = None

    def __next__(self) -> int:
        if self._last is not None:
            time, position = self._last
            if self.weights[position] > 0:
                time += self.rng.standard_exponential() / self.weights[position]
                heappush(self._strokes, (time, position))
        if not self._strokes or self._strokes[0][0] > self._horizon:
            raise StopIteration
        self._last = heappop(self._strokes)
        return self._last[1]

    def upcoming(self, n: int) -> list[int]:
        """Up to n positions that come next, but for those that strike again until then."""
        return [position for _, position in nsmallest(n, self._strokes)]


class Centers:
    """The points drawn so far, in float64; proposals meet them in batches."""

    def __init__(self, points: Products, capacity: int) -> None:
        self.points = points
        self.capacity = capacity
        self.positions: list[int] = []
        self._factors = (
            points.scales.new_empty(capacity, points.q.shape[1]),
            points.scales.new_empty(capacity, points.features.shape[1]),
            points.scales.new_empty(capacity),
        )
        self._slots: dict[int, int] = {}  # of the positions of a batch

    @property
    def complete(self) -> bool:
        return len(self.positions) == self.capacity

    def squared_distance(self, position: int, upcoming: Callable[[int], list[int]]) -> float:
        """To the nearest of them; ``upcoming(n)`` tells what else to measure in the same product."""
        if position not in self._slots:
            self._measure([position, *upcoming(BATCH - 1)])
        return float(self._nearest[self._slots[position]])

    def add(self, position: int) -> None:
        """Makes a position that was measured a center."""
        slot = self._slots[position]
        for center, measured in zip(self._factors, self._batch, strict=True):
            center[len(self.positions)] = measured[slot]
        self.positions.append(position)
        np.minimum(self._nearest, self._among[:, slot], out=self._nearest)

    def _measure(self, positions: list[int]) -> None:
        self._slots = {position: slot for slot, position in enumerate(positions)}
        self._batch = self.points.factors(torch.tensor(positions, device=self.points.q.device))
        self._among = squared_distances(self._batch, self._batch).cpu().numpy()
        self._nearest = np.full(len(positions), np.inf)
        if self.positions:
            q, h, squares = (factor[: len(self.positions)] for factor in self._factors)
            nearest = squared_distances(self._batch, (q, h, squares)).amin(dim=1)
            self._nearest = nearest.cpu().numpy()
