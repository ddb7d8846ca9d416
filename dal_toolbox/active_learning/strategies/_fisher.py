"""Greedy choice of items that minimizes tr(M⁻¹ F), where M grows by VᵀV with every item.

Items have factors V (c, D) of their Fisher information. With A = M⁻¹, adding one lowers the trace by
tr((I + V A Vᵀ)⁻¹ V A F A Vᵀ) (Woodbury's identity), removing one raises it by the same with I − V A Vᵀ.
The two small forms of all items are kept up to date from pick to pick: with Z = A Vᵀ of the
pick and Y = A F Z they change by products of V Z and V Y, which costs O(N c D) instead of the O(N D²) of
computing them anew.

Here all items are kept up to date in float64, which suits few items; ``_fisher_pool`` chooses from many.
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
ROWS = 4096  # items of one product at most: more leave the cache


class Factors(Protocol):
    """The factors V of n items, D = C · d wide."""

    norms: Tensor  # (n,) squared Frobenius norms, float64
    dtype: torch.dtype  # of the arithmetic of ``project``

    def __len__(self) -> int: ...

    def rows(self, items: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """V of some items. Shape: (m, c, D)."""
        ...

    def project(self, z: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """V z for blocks of all items, z float64 (D, k). Shape of a block: (k, m, c)."""
        ...


@dataclass(frozen=True)
class Step:
    """What adding or removing one item does to the forms of all others."""

    position: int
    gain: float  # the largest before it
    z: Tensor  # (D, c) A Vᵀ
    y: Tensor  # (D, c) A F A Vᵀ
    k: Tensor  # (c, c) (I + s V A Vᵀ)⁻¹
    middle: Tensor  # (c, c) k V A F A Vᵀ k
    sign: int

    def apply(self, small: Tensor, large: Tensor, p: Tensor, r: Tensor) -> None:
        """Changes forms (m, c, c) of items whose V Z and V Y are p and r (m, c, c)."""
        if len(self.k) == 1:  # products of matrices of one entry are slow
            factor = self.sign * float(self.k)
            small.addcmul_(p, p, value=-factor)
            large.addcmul_(p, (p * float(self.middle)).sub_(r, alpha=2 * factor))
            return
        k, middle = self.k.to(p), self.middle.to(p)
        pk = p @ k
        small.sub_(pk @ p.mT, alpha=self.sign)
        crossed = pk @ r.mT
        large.add_(p @ middle @ p.mT - self.sign * (crossed + crossed.mT))

    def errors(self, rounding: float) -> tuple[float, float]:
        """Of the two forms of an item of norm 1, where products have this rounding error."""
        zk = (self.z @ self.k).norm()
        small = zk * self.z.norm()
        large = 2 * zk * self.y.norm() + self.z.norm() ** 2 * self.middle.norm()
        return rounding * float(small), rounding * float(large)


class Greedy:
    """Adds items to M (sign 1) or removes them (sign −1), the best one at a time.

    Args:
        factors: Of the items.
        inverse: A, which is changed in place. Shape: (D, D).
        fisher: F. Shape: (D, D).
        sign: 1 or −1.
        chunk_bytes: Bound of the working memory.
        forms: The two small forms of all items and their errors per squared norm, where they are known.
    """

    def __init__(
        self,
        factors: Factors,
        inverse: Tensor,
        fisher: Tensor,
        sign: int,
        chunk_bytes: int,
        forms: tuple[Tensor, Tensor, list[float]] | None = None,
    ) -> None:
        self.factors = factors
        self.inverse = inverse
        self.fisher = fisher
        self.sign = sign
        self.chunk_bytes = chunk_bytes
        self.free = torch.ones(len(factors), dtype=torch.bool, device=inverse.device)
        self._curved = inverse @ fisher @ inverse  # A F A
        self._measured = 0
        if forms is None:
            self._recompute()
        else:
            self._small, self._large, self._errors = forms

    def take(self) -> int:
        """Position of the item whose addition lowers the trace most, or whose removal least."""
        return self.step().position

    def step(self) -> Step:
        """The same, with what it changed."""
        candidates = self._close_to_best()
        small, large = self._forms(candidates)
        found = self.sign * gains(small, large, self.sign)
        best = found.max()
        position = int(candidates[found >= best - EQUAL * best.abs()][0])
        self.free[position] = False
        return self._update(position, float(best))

    def _close_to_best(self) -> Tensor:
        """Items that may be the best, as far as rounding errors of the updates tell."""
        candidates = self._reach()
        self._measured += len(candidates)
        if self._measured > len(self.factors) and self._errors[0] > 0:
            self._recompute()
            candidates = self._reach()
        return candidates

    def _reach(self) -> Tensor:
        found = self.sign * gains(self._small, self._large, self.sign)
        found[~self.free] = -torch.inf
        best = found.max().abs()
        error = self.factors.norms * (self._errors[1] + best * self._errors[0]) + EQUAL * best
        return (found + error >= (found - error).max()).nonzero().squeeze(1)

    def _recompute(self) -> None:
        everything = torch.arange(len(self.factors), device=self.inverse.device)
        self._curved = self.inverse @ self.fisher @ self.inverse
        self._small, self._large = self._forms(everything)
        self._errors = [0.0, 0.0]  # of the forms, per squared norm of an item
        self._measured = 0

    def _forms(self, items: Tensor) -> tuple[Tensor, Tensor]:
        return forms_of(self.factors, items, self.inverse, self._curved, self.chunk_bytes)

    def _update(self, position: int, gain: float) -> Step:
        """A' = A − s Z K Zᵀ with K = (I + s V A Vᵀ)⁻¹, s the sign."""
        v = self.factors.rows(torch.tensor([position], device=self.inverse.device))[0]  # (c, D)
        z = self.inverse @ v.T  # (D, c)
        y = self._curved @ v.T  # A F A Vᵀ = A F Z
        inner = torch.eye(len(v), dtype=v.dtype, device=v.device) + self.sign * v @ z
        k = torch.linalg.inv((inner + inner.T) / 2)
        middle = k @ (v @ y) @ k  # Zᵀ F Z = V A F A Vᵀ
        step = Step(position, gain, z, y, k, middle, self.sign)
        # Both updates are products of a few columns, added in place: the temporaries cost more.
        self.inverse.addmm_(z @ k, z.T, alpha=-self.sign)
        left, right = torch.cat([z @ middle, z @ k, y @ k], 1), torch.cat([z, y, z], 1)
        left[:, len(v) :] *= -self.sign
        self._curved.addmm_(left, right.T)
        for part, both in self.factors.project(torch.cat([z, y], dim=1)):
            p, r = both.double().permute(1, 2, 0).split(len(v), dim=2)  # (m, c, c) V Z and V Y
            step.apply(self._small[part], self._large[part], p, r)
        # Independent errors, some five times what one product has, add in quadrature.
        added = step.errors(ROUNDING[self.factors.dtype])
        self._errors = [float(np.hypot(*pair)) for pair in zip(self._errors, added, strict=True)]
        return step


def gains(small: Tensor, large: Tensor, sign: int) -> Tensor:
    """tr((I ± V A Vᵀ)⁻¹ V A F A Vᵀ). Shapes: (m, c, c), (m, c, c) -> (m,)."""
    if small.shape[1] == 1:
        return (large / (1 + sign * small)).flatten()
    identity = torch.eye(small.shape[1], dtype=small.dtype, device=small.device)
    return torch.linalg.solve(identity + sign * small, large).diagonal(0, 1, 2).sum(1)


def forms_of(
    factors: Factors, items: Tensor, inverse: Tensor, curved: Tensor, chunk_bytes: int
) -> tuple[Tensor, Tensor]:
    """V A Vᵀ and V A F A Vᵀ in the precision of the matrices. Shapes: (m, c, c)."""
    c, width = factors.rows(items[:1]).shape[1:]
    small = inverse.new_empty(len(items), c, c)
    large = torch.empty_like(small)
    size = min(ROWS, max(16, chunk_bytes // (32 * c * width)))
    for part in torch.arange(len(items), device=items.device).split(size):
        v = factors.rows(items[part], inverse.dtype)
        flat = v.flatten(0, 1)
        small[part] = (flat @ inverse).view_as(v) @ v.mT
        large[part] = (flat @ curved).view_as(v) @ v.mT
    return small, large


def backward(
    factors: Factors, full: Tensor, fisher: Tensor, count: int, chunk_bytes: int
) -> set[int]:
    """Positions of the items that are removed greedily from M = ``full``."""
    greedy = Greedy(factors, invert(full), fisher, -1, chunk_bytes)
    return {greedy.take() for _ in range(count)}


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

    def rows(self, items: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        return self.v[items].to(dtype)

    def project(self, z: Tensor) -> Iterator[tuple[slice, Tensor]]:
        flat = z.T @ self.v.flatten(0, 1).T  # (k, n · c)
        yield slice(0, len(self.v)), flat.unflatten(1, self.v.shape[:2])
