"""Kernels of coverage: upper bounds in float32, tile by tile, and exact values in float64."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from dal_toolbox.neighbors import knn

UNIT = torch.finfo(torch.float32).eps / 2  # largest relative error of one operation in float32
TILE_BYTES = 2**18, 2**22  # smallest worth a call, largest that stays in the cache of a core
SEARCH_BYTES = 2**22  # with less, the search for neighbors is a hundred times as slow
ROWS = 512  # that are read at once: copies in float64 stay small beside the features


@dataclass(frozen=True)
class Kernel:
    """K = f(offset − rate ‖a − b‖²) with f in place, increasing; 0 ≤ K ≤ 1 for unit vectors."""

    rate: float
    offset: float = 0.0
    function: Callable[[Tensor], Tensor] = lambda values: values


def gaussian(sigma: float) -> Kernel:
    """K = exp(−‖a − b‖² / σ²)."""
    return Kernel(1 / sigma**2, function=torch.exp_)


def cosine() -> Kernel:
    """K = (1 + cos) / 2 = 1 − ‖a − b‖² / 4."""
    return Kernel(0.25, offset=1.0)


class Left(NamedTuple):
    """Scaled rows of candidates (b, d), and what each adds to the argument of the kernel (b,)."""

    rows: Tensor
    shares: Tensor

    def some(self, which: Tensor) -> "Left":
        """Those at distinct places, ascending."""
        return self if len(which) == len(self.rows) else Left(self.rows[which], self.shares[which])


@dataclass(frozen=True, eq=False)
class CoverKernel:
    """K(c, x) of candidates c and targets x.

    With ε = (d + 48) u, where u is half the machine epsilon of float32,
    (1 − ε) (‖a‖² + ‖b‖²) − 2 a·b in float32 is at most ‖a − b‖² (Higham, 2002, Accuracy and
    Stability of Numerical Algorithms, section 3.1). So one product of rows, and a number added for
    each, give kernel values that are never too small. Exact values come from float64 differences:
    equal rows have distance 0.

    Args:
        features: Of unit norm, float32. Shape: (N, d).
        targets: Indices of what is to be covered. Shape: (T,).
        candidates: Indices of what may cover. Shape: (m,).
        kernel: The kernel as a function of the distance.
        chunk_bytes: Bound of the working memory.
        clusters: Of the features; no value depends on them. Fast if ascending. Shape: (N,).
    """

    features: Tensor
    targets: Tensor
    candidates: Tensor
    kernel: Kernel
    chunk_bytes: int
    clusters: Tensor | None = None

    def left(self, positions: Tensor) -> Left:
        """The side of candidates (b,) of bounds."""
        index = self.candidates[positions]
        shares = self._shares[index] + (self.kernel.offset + 16 * UNIT)  # f rounds, too
        return Left(self.features[index].mul_(2 * self.kernel.rate), shares)

    def upper(self, left: Left, rows: slice | Tensor, out: Tensor | None = None) -> Tensor:
        """Bounds of K for candidates (b, d) and w rows of the features. Shape: (b, w)."""
        right = self.features[rows]
        if out is not None:
            out = out[: len(left.rows) * len(right)].view(len(left.rows), len(right))
        values = torch.addmm(self._shares[rows], left.rows, right.T, out=out)
        return self.kernel.function(values.add_(left.shares[:, None]))

    def exact(self, position: int, where: Tensor) -> Tensor:
        """K(c, x) of one candidate and the targets at ``where`` (k,), float64. Shape: (k,)."""
        center = self.features[self.candidates[position]].double()
        return self._exact(where, lambda part: center)

    def covered(self, centers: Tensor) -> Tensor:
        """Largest K(c, x) over the centers, indices (c,); 0 without any; float64. Shape: (T,)."""
        everything = torch.arange(len(self.targets), device=self.targets.device)
        if len(centers) == 0 or len(everything) == 0:
            return torch.zeros(len(everything), dtype=torch.float64, device=everything.device)
        rows, size = self.features[centers], max(self.tile_bytes, SEARCH_BYTES)
        blocks = (self.features[part] for part in self.targets.split(ROWS))
        nearest = torch.cat([knn(block, rows, 1, chunk_bytes=size).indices for block in blocks])
        return self._exact(everything, lambda part: rows[nearest[part, 0]].double())

    def restrict(self, positions: Tensor) -> Self:
        """The same with fewer candidates."""
        return replace(self, candidates=self.candidates[positions])

    @property
    def tile_bytes(self) -> int:
        return min(max(self.chunk_bytes // 4, TILE_BYTES[0]), TILE_BYTES[1])

    def height(self, width: int) -> int:
        """Candidates that make a good tile with so many targets."""
        return max(1, self.tile_bytes // (4 * max(width, self.features.shape[1])))

    @cached_property
    def _shares(self) -> Tensor:
        """−rate (1 − ε) ‖x‖² of all rows. Shape: (N,)."""
        shares = self.features.new_empty(len(self.features), dtype=torch.float64)
        for rows, into in zip(self.features.split(ROWS), shares.split(ROWS), strict=True):
            torch.linalg.vector_norm(rows.double(), dim=1, out=into)
        shares.square_()
        if not torch.isfinite(shares).all():
            raise ValueError("the features of the pool hold NaN or infinity")
        shares *= -self.kernel.rate * (1 - (self.features.shape[1] + 48) * UNIT)
        return shares.float()

    def _exact(self, where: Tensor, centers: Callable[[Tensor], Tensor]) -> Tensor:
        values = torch.empty(len(where), dtype=torch.float64, device=where.device)
        for part, into in zip(where.split(ROWS), values.split(ROWS), strict=True):
            rows = self.features[self.targets[part]].double()
            squared = rows.sub_(centers(part)).square_().sum(dim=1)
            into.copy_(
                self.kernel.function(squared.mul_(-self.kernel.rate).add_(self.kernel.offset))
            )
        return values
