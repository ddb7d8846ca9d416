"""Greedy choice of items that minimizes tr(M⁻¹ F), where M grows by VᵀV with every item.

Items have factors V (c, D) of their Fisher information. With A = M⁻¹, adding one lowers the trace by
tr((I + V A Vᵀ)⁻¹ V A F A Vᵀ) (Woodbury's identity), removing one raises it by the same with I − V A Vᵀ.
The two small forms of all items are kept up to date from pick to pick: with Z = A Vᵀ of the
pick and Y = A F Z they change by products of V Z and V Y, which costs O(N c D) instead of the O(N D²) of
computing them anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

EQUAL = 1e-9  # relative difference of gains that is rounding error: the lowest index wins
ROUNDING = {
    torch.float32: 5e-7,
    torch.float64: 1e-14,
}  # of a product, over the norms of its factors


class Factors(Protocol):
    """The factors V of n items, D = C · d wide."""

    norms: Tensor  # (n,) squared Frobenius norms, float64
    dtype: torch.dtype  # of the arithmetic of ``project``

    def __len__(self) -> int: ...

    def rows(self, items: Tensor) -> Tensor:
        """V of some items, float64. Shape: (m, c, D)."""
        ...

    def project(self, z: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """V z for blocks of all items, z float64 (D, k). Shape of a block: (m, c, k)."""
        ...


@dataclass
class Greedy:
    """Adds items to M (sign 1) or removes them (sign −1), the best one at a time."""

    factors: Factors
    inverse: Tensor  # (D, D) A
    fisher: Tensor  # (D, D) F
    sign: int
    chunk_bytes: int

    def __post_init__(self) -> None:
        self.free = torch.ones(len(self.factors), dtype=torch.bool, device=self.inverse.device)
        self._recompute()

    def take(self) -> int:
        """Position of the item whose addition lowers the trace most, or whose removal least."""
        candidates = self._close_to_best()
        small, large = self._forms(candidates)
        gains = self.sign * self._gains(small, large)
        best = gains.max()
        position = int(candidates[gains >= best - EQUAL * best.abs()][0])
        self.free[position] = False
        self._update(position)
        return position

    def _close_to_best(self) -> Tensor:
        """Items that may be the best, as far as rounding errors of the updates tell."""
        candidates = self._reach()
        self._measured += len(candidates)
        if self._measured > len(self.factors) and self._errors[0] > 0:
            self._recompute()
            candidates = self._reach()
        return candidates

    def _reach(self) -> Tensor:
        gains = self.sign * self._gains(self._small, self._large)
        gains[~self.free] = -torch.inf
        best = gains.max().abs()
        error = self.factors.norms * (self._errors[1] + best * self._errors[0]) + EQUAL * best
        return (gains + error >= (gains - error).max()).nonzero().squeeze(1)

    def _gains(self, small: Tensor, large: Tensor) -> Tensor:
        """tr((I ± V A Vᵀ)⁻¹ V A F A Vᵀ). Shapes: (m, c, c), (m, c, c) -> (m,)."""
        if small.shape[1] == 1:
            return (large / (1 + self.sign * small)).flatten()
        identity = torch.eye(small.shape[1], dtype=small.dtype, device=small.device)
        return torch.linalg.solve(identity + self.sign * small, large).diagonal(0, 1, 2).sum(1)

    def _recompute(self) -> None:
        everything = torch.arange(len(self.factors), device=self.inverse.device)
        self._curved = self.inverse @ self.fisher @ self.inverse  # A F A
        self._small, self._large = self._forms(everything)
        self._errors = [0.0, 0.0]  # of the forms, per squared norm of an item
        self._measured = 0

    def _forms(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """V A Vᵀ and V A F A Vᵀ in float64. Shapes: (m, c, c)."""
        c, width = self.factors.rows(items[:1]).shape[1:]
        small = self.inverse.new_empty(len(items), c, c)
        large = torch.empty_like(small)
        for part in torch.arange(len(items), device=items.device).split(
            max(16, self.chunk_bytes // (32 * c * width))
        ):
            v = self.factors.rows(items[part])
            flat = v.flatten(0, 1)
            small[part] = (flat @ self.inverse).view_as(v) @ v.mT
            large[part] = (flat @ self._curved).view_as(v) @ v.mT
        return small, large

    def _update(self, position: int) -> None:
        """A' = A − s Z K Zᵀ with K = (I + s V A Vᵀ)⁻¹, s the sign."""
        v = self.factors.rows(torch.tensor([position], device=self.inverse.device))[0]  # (c, D)
        z = self.inverse @ v.T  # (D, c)
        y = self._curved @ v.T  # A F A Vᵀ = A F Z
        inner = torch.eye(len(v), dtype=v.dtype, device=v.device) + self.sign * v @ z
        k = torch.linalg.inv((inner + inner.T) / 2)
        middle = k @ (v @ y) @ k  # Zᵀ F Z = V A F A Vᵀ
        zk = z @ k
        self.inverse -= self.sign * zk @ z.T
        crossed = zk @ y.T
        self._curved += z @ middle @ z.T - self.sign * (crossed + crossed.T)
        for part, both in self.factors.project(torch.cat([z, y], dim=1)):
            p, r = both.double().split(len(v), dim=2)  # (m, c, c) V Z and V Y
            pk = p @ k
            self._small[part] -= self.sign * pk @ p.mT
            crossed = pk @ r.mT
            self._large[part] += p @ middle @ p.mT - self.sign * (crossed + crossed.mT)
        # Independent errors, some five times what one product has, add in quadrature.
        rounding = ROUNDING[self.factors.dtype]
        small = rounding * float(zk.norm() * z.norm())
        large = rounding * float(2 * zk.norm() * y.norm() + z.norm() ** 2 * middle.norm())
        self._errors = [np.hypot(self._errors[0], small), np.hypot(self._errors[1], large)]


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
        factors: Of the candidates.
        start: M of no candidate, positive definite, float64. Shape: (D, D).
        fisher: F, float64. Shape: (D, D).
        n: Number of items wanted.
        oversample: At least 1.
        chunk_bytes: Bound of the working memory.

    Returns:
        Positions in the order in which they were added. Shape: (n,).
    """
    forward = Greedy(factors, invert(start), fisher, 1, chunk_bytes)
    picks = [forward.take() for _ in range(min(len(factors), max(n, int(oversample * n))))]
    if len(picks) == n:
        return np.array(picks, dtype=np.int64)
    chosen = torch.tensor(picks, device=start.device)
    full = start.clone()
    for part in chosen.split(256):
        v = factors.rows(part).flatten(0, 1)
        full += v.T @ v
    backward = Greedy(Explicit(factors.rows(chosen)), invert(full), fisher, -1, chunk_bytes)
    removed = {backward.take() for _ in range(len(picks) - n)}
    return np.array([p for i, p in enumerate(picks) if i not in removed], dtype=np.int64)


def invert(matrix: Tensor) -> Tensor:
    """The inverse of a positive definite matrix."""
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix))


class Explicit:
    """Factors of few items as they are."""

    dtype = torch.float64

    def __init__(self, v: Tensor) -> None:
        self.v = v  # (n, c, D)
        self.norms = v.square().sum(dim=(1, 2))

    def __len__(self) -> int:
        return len(self.v)

    def rows(self, items: Tensor) -> Tensor:
        return self.v[items]

    def project(self, z: Tensor) -> Iterator[tuple[slice, Tensor]]:
        yield slice(0, len(self.v)), self.v @ z
