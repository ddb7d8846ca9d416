"""D² sampling, the seeding of k-means++ (Arthur & Vassilvitskii, 2007), exactly and in few passes.

An item is drawn with probability proportional to D², its squared distance to the nearest item
drawn so far. Naively that is a pass over the pool for each draw. But D² only falls, so an old D² is
an upper bound: items are proposed in proportion to their bounds and accepted with probability
D² / bound, which needs the D² of the proposal alone. That draws from D² exactly (von Neumann's
rejection). When proposals are refused too often, all new items meet the pool in one product.

Bounds come from float32 products, widened by more than their rounding error; D² of a proposal is
computed in float64. So neither chunks nor threads decide, but for chances of some 1e-7 a draw.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
import torch
from torch import Tensor

PATIENCE = 16  # refused proposals until the bounds are renewed, and one for every …
ITEMS_PER_REFUSAL = 4096  # … so many items: a pass costs more in a large pool
QUEUE = 4096  # proposals that are prepared at once
CENTERS = 256  # that meet the pool in one product
CHUNK_BYTES = 2**23  # of a chunk on a CPU: stays in the cache
CANCELLATION = 2e-3  # D² over squared norm: below, float32 loses too many digits
SLACK = 1.01  # exceeds the relative error of float32 above this line by far
DUPLICATE = 1e-12  # D² over squared norms: below is rounding error of float64


def d2_sample(
    points: "Products",
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
    picks = [first]
    centers = Centers(points, n)
    centers.add(first)
    bounds = np.full(len(points), np.inf)
    new = [first]
    while len(picks) < n:
        points.shorten(bounds, new)
        bounds[picks] = 0
        if not (factors * bounds**power).any():
            rest = np.setdiff1d(np.arange(len(points)), picks)
            return np.concatenate([picks, rng.permutation(rest)[: n - len(picks)]]).astype(np.int64)
        new = _draw_by_rejection(centers, bounds, factors, power, n - len(picks), rng)
        picks += new
    return np.array(picks, dtype=np.int64)


def _draw_by_rejection(
    centers: "Centers",
    bounds: np.ndarray,
    factors: np.ndarray,
    power: float,
    n: int,
    rng: np.random.Generator,
) -> list[int]:
    """Up to n positions, drawn until too many proposals are refused; tightens bounds in place."""
    new: list[int] = []
    refusals = PATIENCE + len(bounds) // ITEMS_PER_REFUSAL
    weights = factors * bounds**power
    for position in proposals(weights, rng):
        bounds[position] = centers.squared_distance(position)
        weight = factors[position] * bounds[position] ** power
        if rng.random() * weights[position] < weight:
            new.append(position)
            centers.add(position)
            bounds[position] = weights[position] = 0
        else:
            refusals -= 1
            weights[position] = weight
        if refusals == 0 or len(new) == n:
            break
    return new


def proposals(weights: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Positions drawn with replacement in proportion to weights, as many as a queue gives.

    Every position has a clock that strikes at random with its weight as rate; the order of the
    strokes is wanted. Rounding errors of a weight move one clock, not the sum of all weights.
    The weight of the position just drawn may be lowered.
    """
    with np.errstate(divide="ignore", over="ignore"):
        clocks = rng.standard_exponential(len(weights)) / weights
    first = np.arange(len(weights))
    horizon = np.inf
    if len(weights) > QUEUE:
        first = np.argpartition(clocks, QUEUE)[: QUEUE + 1]
        horizon = clocks[first].max()
    strokes = [(clocks[i], int(i)) for i in first if clocks[i] < np.inf]
    heapify(strokes)
    while strokes and strokes[0][0] <= horizon:
        time, position = heappop(strokes)
        yield position
        if weights[position] > 0:
            heappush(strokes, (time + rng.standard_exponential() / weights[position], position))


@dataclass
class Products:
    """Points gᵢ = scaleᵢ · qᵢ ⊗ hᵢ in C · d dimensions, never formed.

    ‖gᵢ − gⱼ‖² = ‖gᵢ‖² + ‖gⱼ‖² − 2 scaleᵢ scaleⱼ (qᵢ·qⱼ)(hᵢ·hⱼ).

    Args:
        q: Rows of unit norm or 0. Shape: (n, C).
        scales: Not negative, float64. Shape: (n,).
        features: The whole pool. Shape: (N, d).
        rows: Of the features that belong to the points. Shape: (n,).
        chunk_bytes: Bound of the working memory.

    Raises:
        ValueError: Features are not finite.
    """

    q: Tensor
    scales: Tensor
    features: Tensor
    rows: Tensor
    chunk_bytes: int

    def __post_init__(self) -> None:
        norms = [self._norms(part) for part in self.chunks()]
        self.norms = torch.cat(norms) * self.scales  # (n,) ‖gᵢ‖
        largest = self.norms.max()
        if not torch.isfinite(largest):
            raise ValueError("the features of the pool hold NaN or infinity")
        if largest > 0:  # in units of the largest: float32 holds the square as well
            self.norms, self.scales = self.norms / largest, self.scales / largest

    def __len__(self) -> int:
        return len(self.q)

    def h(self, part: slice | Tensor) -> Tensor:
        return self.features[self.rows[part]]

    def chunks(self, width: int = 0) -> Iterator[slice]:
        """Parts of the points, with room for ``width`` more numbers in each row."""
        on_cpu = self.q.device.type == "cpu"
        room = min(self.chunk_bytes, CHUNK_BYTES) if on_cpu else self.chunk_bytes
        size = max(1, room // (8 * (self.q.shape[1] + self.features.shape[1] + width)))
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    def shorten(self, bounds: np.ndarray, centers: list[int]) -> None:
        """Lowers upper bounds of D² (n,) by new centers, in place."""
        for start in range(0, len(centers), CENTERS):
            block = torch.tensor(centers[start : start + CENTERS], device=self.q.device)
            squares = self.norms[block].square().float()
            q = -2 * self.q[block].float() * self.scales[block].float()[:, None]  # (b, C)
            h = self.h(block).float()  # (b, d)
            for part in self.chunks(len(block)):
                found = self.q[part].float() @ q.T  # (m, b)
                found *= self.h(part).float() @ h.T
                found *= self.scales[part].float()[:, None]
                nearest = (found + squares).amin(dim=1).double() + self.norms[part].square()
                nearest *= SLACK
                self._measure_again(nearest, part, block)
                bounds[part] = np.minimum(bounds[part], nearest.cpu().numpy())

    def squared_distances(self, part: slice | Tensor, centers: Tensor) -> Tensor:
        """In float64. Shape: (m, b)."""
        products = self.q[part].double() @ self.q[centers].double().T
        products *= self.h(part).double() @ self.h(centers).double().T
        products *= self.scales[part][:, None] * self.scales[centers]
        return _squared_distances(self.norms[part][:, None], self.norms[centers], products)

    def _measure_again(self, nearest: Tensor, part: slice, centers: Tensor) -> None:
        """Replaces what float32 cannot tell from 0."""
        close = (nearest < CANCELLATION * self.norms[part].square()).nonzero().squeeze(1)
        for some in close.split(max(1, len(nearest) // 4)):
            nearest[some] = self.squared_distances(some + part.start, centers).amin(dim=1)

    def _norms(self, part: slice) -> Tensor:
        return self.q[part].double().norm(dim=1) * self.h(part).double().norm(dim=1)


class Centers:
    """The points drawn so far, in float64."""

    def __init__(self, points: Products, capacity: int) -> None:
        self.points = points
        self.q = points.scales.new_empty(capacity, points.q.shape[1])
        self.h = points.scales.new_empty(capacity, points.features.shape[1])
        self.norms = points.scales.new_empty(capacity)
        self.size = 0

    def add(self, position: int) -> None:
        q, h, norm = self._point(position)
        self.q[self.size], self.h[self.size], self.norms[self.size] = q, h, norm
        self.size += 1

    def squared_distance(self, position: int) -> float:
        """To the nearest of them."""
        q, h, norm = self._point(position)
        products = (self.q[: self.size] @ q) * (self.h[: self.size] @ h)
        return float(_squared_distances(norm, self.norms[: self.size], products).min())

    def _point(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        points = self.points
        q = points.q[position].double() * points.scales[position]
        return q, points.features[points.rows[position]].double(), points.norms[position]


def _squared_distances(a: Tensor, b: Tensor, products: Tensor) -> Tensor:
    """From the norms and the inner products of points."""
    squares = a.square() + b.square()
    squared = squares - 2 * products
    return squared.masked_fill_(squared < DUPLICATE * squares, 0.0)
