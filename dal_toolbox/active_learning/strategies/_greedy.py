"""Lazy greedy maximization of coverage.

C(S) = Σ_x w(x) max_{s ∈ S} K(x, s) is monotone and submodular: greedy choice comes within 1 − 1/e of
the best set (Nemhauser et al., 1978, https://doi.org/10.1007/BF01588971), and the gain of a candidate
only falls while others are chosen. So an earlier gain bounds it from above, and most candidates
need no second look (Minoux, 1978, https://doi.org/10.1007/BFb0006528). Here the same holds for its
parts, the gains on blocks of near targets: a part that is 0 stays 0, and a pick makes few parts old.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._cover_blocks import as_slice, near_blocks
from dal_toolbox.active_learning.strategies._cover_kernel import UNIT, CoverKernel, Left
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

    Time: O(m T d) for the first bounds, then O(b d) for each block of b targets on which a candidate
    is looked at again. Memory: 5 bytes for each candidate and block, at most 64, beside O(m + T).

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
    """Bounds of all candidates, on each block and in sum, and what is covered so far."""

    def __init__(self, kernel: CoverKernel, weights: Tensor, covered: Tensor) -> None:
        m, device = len(kernel.candidates), covered.device
        self.kernel, self.weights, self.covered = kernel, weights, covered.clone()
        blocks = near_blocks(kernel)
        self.order = torch.cat([kernel.targets[:0], *blocks])  # block by block
        self.ends = torch.tensor([len(block) for block in blocks], device=device).cumsum(0)
        self.rows = [as_slice(kernel.targets[block]) for block in blocks]
        self.weights_up = (weights[self.order] * (1 + 4 * UNIT)).float()
        self.covered_down = _round_down(covered[self.order])
        self.height = kernel.height(max(map(len, blocks), default=1))
        self.tile = covered.new_empty(kernel.tile_bytes // 4, dtype=torch.float32)
        self.parts = torch.full((len(blocks), m), torch.inf, device=device)
        self.old = torch.ones((len(blocks), m), dtype=torch.bool, device=device)
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

    def add(self, position: int) -> None:
        """Lets a candidate cover its targets, never to be chosen again."""
        where, values = self._reached(position)
        better = values > self.covered[self.order[where]]
        where, values = where[better], values[better]
        self.covered[self.order[where]] = values
        self.covered_down[where] = _round_down(values)
        changed = torch.searchsorted(self.ends, where, right=True).unique()
        self.old[changed] = True
        for i in changed.tolist():
            self.stage[self.parts[i] > 0] = STALE
        self.parts[:, position], self.bounds[position], self.stage[position] = 0, -1, EXACT

    def _promising(self, size: int) -> Tensor:
        """Stale candidates among those with the largest bounds, beyond all that are known better."""
        known = self.bounds.masked_fill(self.stage == STALE, -1).amax()
        positions = self.bounds.topk(min(size, len(self.bounds))).indices
        return positions[(self.stage[positions] == STALE) & (self.bounds[positions] >= known)]

    def _bound_all(self) -> None:
        self.started = True
        positions = torch.arange(len(self.bounds), device=self.bounds.device)
        for part in _progress(positions.split(self.height), self.kernel):
            self._bound(part)

    def _bound(self, positions: Tensor) -> None:
        """Smaller bounds: of all old parts above 0, the larger ones are computed anew."""
        for some in positions.split(self.height):
            parts, left = self.parts[:, some], self.kernel.left(some)
            due = self.old[:, some] & (parts > 0)
            mean = parts.masked_fill(~due, 0).sum(dim=0) / due.sum(dim=0)
            now = due & (parts >= mean * (1 - 2**-20))
            self.stage[some] = torch.where((due & ~now).any(dim=0), STALE, BOUND).to(torch.int8)
            blocks, found = now.nonzero().unbind(1)
            present, sizes = blocks.unique_consecutive(return_counts=True)
            for i, which in zip(present.tolist(), found.split(sizes.tolist()), strict=True):
                self._bound_part(i, some[which], left.some(which))
            sums = self.parts[:, some].double().sum(dim=0)
            self.bounds[some] = (sums * (1 + 2 * UNIT)).float()

    def _bound_part(self, i: int, positions: Tensor, left: Left) -> None:
        block = self._block(i)
        values = self.kernel.upper(left, self.rows[i], out=self.tile)
        values.sub_(self.covered_down[block]).clamp_(min=0)
        gains = (values @ self.weights_up[block]).double()
        gains *= 1 + 2 * (values.shape[1] + 16) * UNIT  # no sum was rounded down by more
        self.parts[i, positions] = gains.float()
        self.old[i, positions] = False

    def _settle(self, position: int) -> None:
        where, values = self._reached(position)
        differences = values - self.covered[self.order[where]]
        differences[differences < NOISE] = 0
        self.bounds[position] = (differences * self.weights[self.order[where]]).sum()
        self.stage[position] = EXACT

    def _reached(self, position: int) -> tuple[Tensor, Tensor]:
        """The targets that a candidate can cover better, in blocks, and its kernel values there."""
        at = torch.tensor([position], device=self.bounds.device)
        left, found = self.kernel.left(at), [at[:0]]
        for i in (self.parts[:, position] > 0).nonzero().squeeze(1).tolist():
            block = self._block(i)
            values = self.kernel.upper(left, self.rows[i])[0]
            found.append((values > self.covered_down[block]).nonzero().squeeze(1) + block.start)
        where = torch.cat(found)
        where = where[self.order[where].argsort()]  # sums must not depend on the blocks
        return where, self.kernel.exact(position, self.order[where])

    def _block(self, i: int) -> slice:
        return slice(int(self.ends[i - 1]) if i else 0, int(self.ends[i]))


def _round_down(values: Tensor) -> Tensor:
    return (values * (1 - 2 * UNIT)).float()


def _progress(items: Iterable[T], kernel: CoverKernel) -> Iterable[T]:
    work = len(kernel.candidates) * len(kernel.targets) * kernel.features.shape[1]
    return track(items, "greedy cover") if work > LONG else items
