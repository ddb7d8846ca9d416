"""Lazy greedy maximization of coverage.

C(S) = Σ_x w(x) max_{s ∈ S} K(x, s) is monotone and submodular: greedy choice comes within 1 − 1/e of
the best set (Nemhauser et al., 1978, https://doi.org/10.1007/BF01588971), and the gain of a candidate
only falls while others are chosen. So an earlier gain bounds it from above, and most candidates
need no second look (Minoux, 1978, https://doi.org/10.1007/BFb0006528).
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._cover_kernel import COLUMNS, UNIT, CoverKernel
from dal_toolbox.neighbors._sides import plain_float32
from dal_toolbox.progress import track

T = TypeVar("T")
NOISE = 1e-12  # smaller differences of kernel values are rounding errors
FIRST_BATCH = 16
LONG = 10**12  # multiply-adds that deserve a progress bar
STALE, BOUND, EXACT = 0, 1, 2


class Cover(NamedTuple):
    """Positions of the picks among the candidates, in order of choice (n,), and their gains (n,)."""

    picks: Tensor
    gains: Tensor


def greedy_cover(kernel: CoverKernel, weights: Tensor, covered: Tensor, n: int) -> Cover:
    """Picks, n times, the candidate c with the largest gain Σ_x w(x) (K(x, c) − m(x))₊.

    A gain goes through three stages: a bound from an earlier m, a bound for this m from kernel
    values rounded up in float32, and the gain itself in float64. The candidate with the largest
    value is taken to the next stage until it is exact; nothing can beat it then. Gains are
    compared as float32, so that neither the size of a chunk nor the number of threads decides;
    ties go to the lowest position. The picks are those of naive greedy.

    Time: O(m T d) for the first bounds, then O(T d) for each candidate that is looked at again; no
    product where its row of the kernel is still in the cache. Memory: O(m + T + chunk_bytes).

    Args:
        kernel: Of m candidates and T targets.
        weights: w(x) ≥ 0, float64. Shape: (T,).
        covered: m(x), the coverage that there is, float64. Shape: (T,).
        n: Number of picks, at most m.
    """
    with plain_float32():
        search = _Search(kernel, weights, covered)
        picks, gains = [], []
        for _ in _progress(range(n), kernel):
            best = search.next()
            picks.append(best)
            gains.append(float(search.bounds[best]))
            search.add(best)
    device = covered.device
    return Cover(torch.tensor(picks, dtype=torch.int64, device=device), torch.tensor(gains))


class _Search:
    """Bounds of all candidates, and what is covered so far."""

    def __init__(self, kernel: CoverKernel, weights: Tensor, covered: Tensor) -> None:
        m, device = len(kernel.candidates), covered.device
        self.kernel = kernel
        self.weights, self.covered = weights, covered.clone()
        self.weights_up = (weights * (1 + 4 * UNIT)).float()
        self.covered_down = _round_down(covered)
        self.rows = _RowCache(kernel)
        self.bounds = torch.full((m,), torch.inf, device=device)
        self.stage = torch.full((m,), STALE, dtype=torch.int8, device=device)
        self.started = False

    def next(self) -> int:
        """The candidate with the largest gain."""
        if not self.started:
            self._bound_all()
        batch = FIRST_BATCH
        while True:
            top = int(self.bounds.argmax())  # the first of equals
            stage = int(self.stage[top])
            if stage == EXACT:
                return top
            if stage == BOUND:
                self._settle(top)
                continue
            self._bound(self._promising(batch))
            batch *= 2

    def _promising(self, size: int) -> Tensor:
        """Stale candidates among those with the largest bounds, beyond all that are known better."""
        known = self.bounds[self.stage != STALE].amax(dim=0) if bool(self.stage.any()) else -1.0
        positions = self.bounds.topk(min(size, len(self.bounds))).indices
        return positions[(self.stage[positions] == STALE) & (self.bounds[positions] >= known)]

    def add(self, position: int) -> None:
        """Lets a candidate cover its targets, never to be chosen again."""
        where, values = self._reached(position)
        self.covered[where] = torch.maximum(self.covered[where], values)
        self.covered_down[where] = _round_down(self.covered[where])
        self.stage[:] = STALE
        self.bounds[position] = -1

    def _bound_all(self) -> None:
        self.started = True
        positions = torch.arange(len(self.bounds), device=self.bounds.device)
        for block in _progress(positions.split(max(8192, self.rows.size)), self.kernel):
            self._bound(block)

    def _bound(self, positions: Tensor) -> None:
        """Bounds of the gains for what is covered now; many rows at once pass by the cache."""
        keep = len(positions) <= self.rows.size // 4 or self.rows.size == len(self.bounds)
        for part in positions.split(self.kernel.height):
            gains = torch.zeros(len(part), dtype=torch.float64, device=part.device)
            for columns, values in self.rows.tiles(part) if keep else self.kernel.upper(part):
                values.sub_(self.covered_down[columns]).clamp_(min=0)
                gains += values @ self.weights_up[columns]
            gains *= 1 + 2 * (COLUMNS + 16) * UNIT  # no sum was rounded down by more
            self.bounds[part] = torch.minimum(self.bounds[part], gains.float())
        self.stage[positions] = BOUND

    def _settle(self, position: int) -> None:
        where, values = self._reached(position)
        differences = values - self.covered[where]
        differences[differences < NOISE] = 0
        self.bounds[position] = (differences * self.weights[where]).sum()
        self.stage[position] = EXACT

    def _reached(self, position: int) -> tuple[Tensor, Tensor]:
        """The targets that a candidate can cover better, and its kernel values there."""
        at = torch.tensor([position], device=self.bounds.device)
        where = [
            (values[0] > self.covered_down[columns]).nonzero().squeeze(1) + columns.start
            for columns, values in self.rows.tiles(at)
        ]
        found = torch.cat([at[:0], *where])
        return found, self.kernel.exact(position, found)


class _RowCache:
    """Rows of kernel bounds that were used last, in half of ``chunk_bytes``."""

    def __init__(self, kernel: CoverKernel) -> None:
        m, width, device = len(kernel.candidates), len(kernel.targets), kernel.targets.device
        self.kernel = kernel
        self.size = min(m, kernel.chunk_bytes // (8 * max(1, width)))
        self.rows = torch.empty((self.size, width), device=device)
        self.slot = torch.full((m,), -1, device=device)
        self.owner = torch.full((self.size,), -1, device=device)
        self.used = torch.zeros(self.size, dtype=torch.int64, device=device)
        self.clock = 0

    def tiles(self, positions: Tensor) -> Iterable[tuple[slice, Tensor]]:
        """As ``CoverKernel.upper``, from the cache where so many rows fit into it."""
        if len(positions) > self.size:
            yield from self.kernel.upper(positions)
            return
        slots = self._slots(positions)
        for columns in self.kernel.tiles(len(positions)):
            yield columns, self.rows[slots, columns]

    def _slots(self, positions: Tensor) -> Tensor:
        self.clock += 1
        missing = positions[self.slot[positions] < 0]
        hits = self.slot[positions]
        self.used[hits[hits >= 0]] = self.clock
        if len(missing):
            victims = self.used.topk(len(missing), largest=False).indices
            owners = self.owner[victims]
            self.slot[owners[owners >= 0]] = -1
            self._load(missing, victims)
        return self.slot[positions]

    def _load(self, positions: Tensor, slots: Tensor) -> None:
        self.slot[positions], self.owner[slots], self.used[slots] = slots, positions, self.clock
        height = self.kernel.height
        for part, into in zip(positions.split(height), slots.split(height), strict=True):
            for columns, values in self.kernel.upper(part):
                self.rows[into, columns] = values


def _round_down(values: Tensor) -> Tensor:
    return (values * (1 - 2 * UNIT)).float()


def _progress(items: Iterable[T], kernel: CoverKernel) -> Iterable[T]:
    work = len(kernel.candidates) * kernel.rows.numel()
    return track(items, "greedy cover") if work > LONG else items
