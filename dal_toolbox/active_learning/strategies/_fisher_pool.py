"""The greedy choice of ``_fisher`` from many items, of which few are looked at for every pick.

A working set of the items with the largest gains makes a block of picks on its own, in float64. Then
all others follow, block by block of items with one product for all the picks: in float32 with a bound
of the rounding errors, their gains before each pick are compared with the one that was taken. Items
that may have been better join the working set, and the block of picks is made again: what is chosen
is what looking at everybody would have chosen. (Gains may grow from pick to pick, so that old ones are
no bounds.)
"""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._fisher import (
    EQUAL,
    ROUNDING,
    Explicit,
    Factors,
    Greedy,
    Step,
    backward,
    forms_of,
    gains,
    invert,
)

WORKING = 2**25  # bytes of the factors of a working set
FIRST, MOST = 16, 64  # picks of a block
ROUGH = 1e-6  # relative error of a gain that is computed in float32 from its forms
ROUNDED = ROUNDING[torch.float32]


def forward_backward(
    factors: Factors,
    start: Tensor,
    fisher: Tensor,
    n: int,
    *,
    oversample: float,
    chunk_bytes: int,
) -> np.ndarray:
    """Adds oversample · n items greedily to M, then removes all but n of them.

    Args:
        factors: Factors of the candidates.
        start: M of no candidate, positive definite, float64. Shape: (D, D).
        fisher: F, float64. Shape: (D, D).
        n: Number of items wanted.
        oversample: At least 1.
        chunk_bytes: Bound of the working memory.

    Returns:
        Positions in the order in which they were added. Shape: (n,).
    """
    count = max(n, int(min(len(factors), oversample * n)))
    picks = forward(factors, start, fisher, count, chunk_bytes)
    if count == n:
        return np.array(picks, dtype=np.int64)
    v = factors.rows(torch.tensor(picks, device=start.device))
    full = start + v.flatten(0, 1).T @ v.flatten(0, 1)
    removed = backward(Explicit(v), full, fisher, count - n, chunk_bytes)
    return np.array([p for i, p in enumerate(picks) if i not in removed], dtype=np.int64)


def forward(
    factors: Factors, start: Tensor, fisher: Tensor, count: int, chunk_bytes: int
) -> list[int]:
    """Positions of the items that are added greedily, in order."""
    everything = torch.arange(len(factors), device=start.device)
    c, width = factors.rows(everything[:1]).shape[1:]
    size = max(16, WORKING // (8 * c * width))
    inverse = invert(start)
    if len(factors) <= size:
        greedy = Greedy(Explicit(factors.rows(everything)), inverse, fisher, 1, chunk_bytes)
        return [greedy.take() for _ in range(count)]
    forms = Forms.of(factors, inverse, fisher, chunk_bytes)
    outside = torch.ones_like(everything, dtype=torch.bool)
    picks: list[int] = []
    length = FIRST
    while len(picks) < count:
        working = forms.best(outside, size)
        fresh = len(picks) == 0
        number = min(length, count - len(picks), len(working))
        steps, greedy = forms.choose(working, inverse, fisher, number)
        outside[working] = False
        after, found, first = forms.after(steps, outside)
        length = min(MOST, length + 4) if len(found) == 0 else max(4, first)
        while len(found):
            if len(found) > size and not fresh:  # the errors have grown too large
                forms, fresh = Forms.of(factors, inverse, fisher, chunk_bytes), True
            working = torch.cat([working, found]).sort().values
            steps, greedy = forms.choose(working, inverse, fisher, len(steps))
            outside[found] = False
            after, found, _ = forms.after(steps, outside)
        chosen = working[[step.position for step in steps]]
        picks += chosen.tolist()
        outside[working] = True
        outside[chosen] = False
        forms, inverse = after, greedy.inverse
    return picks


class Forms:
    """V A Vᵀ and V A F A Vᵀ of all items in float32, with a bound of their errors."""

    def __init__(
        self, factors: Factors, small: Tensor, large: Tensor, errors: list[float], chunk_bytes: int
    ) -> None:
        self.factors = factors
        self.small, self.large = small, large  # (n, c, c)
        self.errors = errors  # per squared norm of an item
        self.chunk_bytes = chunk_bytes

    @classmethod
    def of(cls, factors: Factors, inverse: Tensor, fisher: Tensor, chunk_bytes: int) -> Self:
        curved = inverse @ fisher @ inverse
        everything = torch.arange(len(factors), device=inverse.device)
        forms = forms_of(factors, everything, inverse.float(), curved.float(), chunk_bytes)
        errors = [ROUNDED * float(matrix.norm()) for matrix in (inverse, curved)]
        return cls(factors, *forms, errors, chunk_bytes)

    def best(self, free: Tensor, count: int) -> Tensor:
        """Ascending positions of the free items with the largest gains."""
        found = gains(self.small, self.large, 1)
        found[~free] = -torch.inf
        count = min(count, int(free.sum()))
        return found.topk(count).indices.sort().values

    def choose(
        self, working: Tensor, inverse: Tensor, fisher: Tensor, count: int
    ) -> tuple[list[Step], Greedy]:
        """The picks of a working set alone."""
        forms = self.small[working].double(), self.large[working].double(), self.errors
        explicit = Explicit(self.factors.rows(working))
        greedy = Greedy(explicit, inverse.clone(), fisher, 1, self.chunk_bytes, forms)
        return [greedy.step() for _ in range(count)], greedy

    def after(self, steps: list[Step], outside: Tensor) -> tuple["Forms", Tensor, int]:
        """The forms after some picks, items outside that may have been better, and since which pick."""
        small, large, errors = self.small.clone(), self.large.clone(), self.errors
        bounds = []
        for step in steps:
            bounds.append((step.gain * (1 - EQUAL - ROUGH), step.gain * errors[0] + errors[1]))
            added = step.errors(ROUNDED)
            errors = [float(np.hypot(*pair)) for pair in zip(errors, added, strict=True)]
        columns = torch.cat([column for step in steps for column in (step.z, step.y)], dim=1)
        first, challengers = len(steps), []
        for part, products in self.factors.project(columns):
            both = products.unflatten(0, (len(steps), 2, -1))  # (steps, 2, c, m, c)
            better = torch.zeros_like(outside[part])
            # Items inside cannot challenge: their norm is −∞.
            norms = self.factors.norms[part].float().masked_fill(~outside[part], -torch.inf)
            for t, (step, (gain, error)) in enumerate(zip(steps, bounds, strict=True)):
                reach = gains(small[part], large[part], 1).add_(norms, alpha=error)
                if reach.max() >= gain:
                    better |= reach >= gain
                    first = min(first, t)
                step.apply(small[part], large[part], *both[t].permute(0, 2, 3, 1))
            challengers.append(better.nonzero().squeeze(1) + part.start)
        new = Forms(self.factors, small, large, errors, self.chunk_bytes)
        return new, torch.cat(challengers), first
