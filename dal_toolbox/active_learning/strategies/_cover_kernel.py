"""Kernels of coverage: upper bounds in float32, tile by tile, and exact values in float64."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from dal_toolbox.neighbors import knn

UNIT = torch.finfo(torch.float32).eps / 2  # largest relative error of one operation in float32
COLUMNS = 4096  # of a tile
TILE_BYTES = 2**18, 2**23  # smallest worth a call, largest that stays in the cache of a core


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


@dataclass(frozen=True, eq=False)
class CoverKernel:
    """K(c, x) of candidates c and targets x.

    With ε = (d + 32) u, where u is half the machine epsilon of float32,
    (1 − ε) (‖a‖² + ‖b‖²) − 2 a·b in float32 is at most ‖a − b‖² (Higham, 2002, Accuracy and
    Stability of Numerical Algorithms, section 3.1). One product of rows with two columns more gives
    offset − rate ‖a − b‖² that way, and from it kernel values that are never too small. Exact
    values come from float64 differences: equal rows have distance 0.

    Args:
        features: Of unit norm, float32. Shape: (N, d).
        targets: Indices of what is to be covered. Shape: (T,).
        candidates: Indices of what may cover. Shape: (m,).
        kernel: The kernel as a function of the distance.
        chunk_bytes: Bound of the working memory beside a copy of the targets.
    """

    features: Tensor
    targets: Tensor
    candidates: Tensor
    kernel: Kernel
    chunk_bytes: int

    @property
    def rows(self) -> Tensor:
        """The targets, float32. Shape: (T, d)."""
        return self._right[:, :-2]

    def upper(self, positions: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Bounds of the rows of candidates, tile by tile: columns and values (b, width)."""
        rate, offset = self.kernel.rate, self.kernel.offset
        a = self.features[self.candidates[positions]].float()
        share = offset - rate * self._squares(a) + 16 * UNIT  # for the rounding of f
        a = torch.cat([2 * rate * a, share[:, None].float(), torch.ones_like(a[:, :1])], dim=1)
        for columns in self.tiles(len(positions)):
            yield columns, self.kernel.function(a @ self._right[columns].T)

    def exact(self, position: int, where: Tensor) -> Tensor:
        """K(c, x) of one candidate and the targets at ``where`` (k,), float64. Shape: (k,)."""
        center = self.features[self.candidates[position]].double()
        return self._exact(where, lambda part: center)

    def covered(self, centers: Tensor) -> Tensor:
        """Largest K(c, x) over the centers, indices (c,); 0 without any; float64. Shape: (T,)."""
        everything = torch.arange(len(self.targets), device=self.targets.device)
        if len(centers) == 0 or len(everything) == 0:
            return torch.zeros(len(everything), dtype=torch.float64, device=everything.device)
        rows = self.features[centers].float()
        found = knn(self.rows, rows, 1, chunk_bytes=self.chunk_bytes)
        nearest = found.indices.squeeze(1)
        return self._exact(everything, lambda part: rows[nearest[part]].double())

    def restrict(self, positions: Tensor) -> Self:
        """The same with fewer candidates."""
        return replace(self, candidates=self.candidates[positions])

    def tiles(self, height: int) -> Iterator[slice]:
        """Slices of the targets for tiles of so many rows."""
        width = max(1, min(COLUMNS, self.tile_bytes // (4 * max(1, height))))
        for start in range(0, len(self.targets), width):
            yield slice(start, start + width)

    @property
    def tile_bytes(self) -> int:
        return min(max(self.chunk_bytes // 4, TILE_BYTES[0]), TILE_BYTES[1])

    @property
    def height(self) -> int:
        """Candidates of a block that makes good tiles."""
        return self.tile_bytes // 4096

    @cached_property
    def _right(self) -> Tensor:
        """The targets with the columns 1 and −rate (1 − ε) ‖b‖². Shape: (T, d + 2)."""
        right = torch.empty(
            (len(self.targets), self.features.shape[1] + 2), device=self.features.device
        )
        for part, into in zip(self.targets.split(8192), right.split(8192), strict=True):
            rows = self.features[part].float()
            into[:, :-2], into[:, -2] = rows, 1
            into[:, -1] = -self.kernel.rate * self._squares(rows)
        return right

    def _squares(self, rows: Tensor) -> Tensor:
        squares = rows.double().square().sum(dim=1)
        if not torch.isfinite(squares).all():
            raise ValueError("the features of the pool hold NaN or infinity")
        return (1 - (rows.shape[1] + 48) * UNIT) * squares

    def _exact(self, where: Tensor, centers: Callable[[Tensor], Tensor]) -> Tensor:
        size = max(1, self.chunk_bytes // (32 * self.rows.shape[1]))
        values = torch.empty(len(where), dtype=torch.float64, device=where.device)
        for part, into in zip(where.split(size), values.split(size), strict=True):
            squared = (self.rows[part].double() - centers(part)).square_().sum(dim=1)
            into.copy_(
                self.kernel.function(squared.mul_(-self.kernel.rate).add_(self.kernel.offset))
            )
        return values
