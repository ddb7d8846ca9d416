"""Distances of greedy k-center: exact ones, and upper bounds that cost less."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._pool import check_finite
from dal_toolbox.neighbors._sides import UNDERFLOW

CENTERS = 1024  # that are met at once
CPU_CHUNK_BYTES = 2**22  # stays in the cache
SAMPLE = 2**14  # candidates that the origin is the mean of
UNSURE = 1e-9  # relative error of a squared distance that leaves a float32 in doubt


@dataclass
class Points:
    """The candidates, centered, chunk by chunk."""

    features: Tensor  # (N, d)
    candidates: Tensor  # (m,)
    chunk_bytes: int

    @cached_property
    def origin(self) -> Tensor:
        """About the mean of the candidates, which rows are taken relative to. Shape: (d,)."""
        return self._mean(-(-len(self.candidates) // SAMPLE))

    @cached_property
    def mean(self) -> Tensor:
        """Of the candidates, float64. Shape: (d,)."""
        return self._mean(1)

    def _mean(self, step: int) -> Tensor:
        some = torch.arange(0, len(self.candidates), step, device=self.features.device)
        total = torch.zeros(self.features.shape[1], dtype=torch.float64, device=some.device)
        for part in self._chunks(some):
            total += self.features[self.candidates[part]].double().sum(dim=0)
        return check_finite(total / len(some))

    def block_size(self, most: int) -> int:
        """Rows of which a few copies in float64 fit: 1 to ``most``."""
        return min(most, max(1, self.chunk_bytes // (32 * self.features.shape[1])))

    def rows(self, positions: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows at positions of ``candidates``, less the origin. Shape: (len(positions), d)."""
        return self._centered(self.candidates[positions], dtype)

    def shorten(
        self, distances: Tensor, positions: Tensor, centers: Tensor, dtype: torch.dtype
    ) -> None:
        """Lowers the squared distances (m,) at positions by centers, indices (c,), in place.

        With float64 by the distances, with float32 by upper bounds of them.
        """
        for indices in centers.split(CENTERS):
            block = self._centered(indices, dtype)
            squares = block.square().sum(dim=1)
            for part in self._chunks(positions, len(block)):
                x = self.rows(part, dtype)
                if dtype == torch.float64:
                    new = self._nearest(part, indices, x, block, squares)
                else:
                    new = upper_bounds(x, block, squares)
                distances[part] = torch.minimum(distances[part], new)

    def _nearest(
        self, positions: Tensor, centers: Tensor, x: Tensor, block: Tensor, squares: Tensor
    ) -> Tensor:
        """Squared distances from the nearest of some centers, float64 rounded to float32. Shape: (m,).

        Where rounding errors of ‖a‖² + ‖b‖² − 2ab could be seen in the result, centers that may be
        the nearest are measured again by differences: duplicates are at distance 0, and nothing else is.

        Args:
            positions: Shape: (m,).
            centers: Their indices. Shape: (c,).
            x: Centered rows at the positions. Shape: (m, d).
            block: Centered rows of the centers. Shape: (c, d).
            squares: Their squared norms. Shape: (c,).
        """
        norms = check_finite(x.square().sum(dim=1)[:, None] + squares)  # (m, c)
        found = norms - 2 * x @ block.T
        error = (x.shape[1] + 16) * torch.finfo(torch.float64).eps * norms
        nearest, which = found.min(dim=1)
        own = error.gather(1, which[:, None]).squeeze(1)
        unsure = (own > UNSURE * nearest).nonzero().squeeze(1)
        if not len(unsure):
            return nearest.float()
        close = found[unsure] - error[unsure] <= (nearest + own)[unsure, None]
        rows, columns = close.nonzero().unbind(1)
        nearest[unsure] = torch.inf
        size = max(1, self.chunk_bytes // (32 * x.shape[1]))
        for row, column in zip(unsure[rows].split(size), columns.split(size), strict=True):
            difference = self.features[self.candidates[positions[row]]].double()
            difference -= self.features[centers[column]].double()
            nearest.scatter_reduce_(0, row, difference.square_().sum(dim=1), "amin")
        return nearest.float()

    def nearest_to_mean(self) -> Tensor:
        """Position of the candidate nearest to the mean, the first among equals. Shape: (1,)."""
        everything = torch.arange(len(self.candidates), device=self.features.device)
        bounds = self._from(everything, self.mean, torch.float32)
        limit = bounds.min() * (1 + 2 * _slack(self.features.shape[1])) + UNDERFLOW
        near = (~(bounds > limit)).nonzero().squeeze(1)  # NaN is near
        return near[self._from(near, self.mean, torch.float64).argmin()].unsqueeze(0)

    def _from(self, positions: Tensor, point: Tensor, dtype: torch.dtype) -> Tensor:
        """Squared distances from a point, by differences. Shape: (len(positions),)."""
        rows = (
            _less(self.features[self.candidates[part]], point, dtype)
            for part in self._chunks(positions)
        )
        return torch.cat([part.square().sum(dim=1).float() for part in rows])

    def _centered(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        return _less(self.features[indices], self.origin, dtype)

    def _chunks(self, positions: Tensor, width: int = 0) -> Iterator[Tensor]:
        """Positions whose rows, with ``width`` more numbers in each, stay in the cache."""
        on_cpu = self.features.device.type == "cpu"
        room = min(self.chunk_bytes, CPU_CHUNK_BYTES) if on_cpu else self.chunk_bytes
        yield from positions.split(max(1, room // (16 * (self.features.shape[1] + width))))


def upper_bounds(a: Tensor, b: Tensor, bb: Tensor) -> Tensor:
    """At least the squared distance from each row of a to the nearest row of b, from float32. Shape: (len(a),).

    With ε of float32, a product of d numbers errs by at most d/2 · ε · ‖a‖‖b‖, so that 2ab errs
    by d/2 · ε · (‖a‖² + ‖b‖²); a norm by d/2 · ε of itself; the rounded rows and the last sums
    by a few ε. All that is less than (d + 16) · ε · (‖a‖² + ‖b‖²).
    """
    larger = 1 + _slack(a.shape[1])
    aa = torch.linalg.vector_norm(a, dim=1).square()
    bounds = torch.addmm(larger * bb + UNDERFLOW, a, b.T, alpha=-2).amin(dim=1) + larger * aa
    return bounds.nan_to_num_(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)  # after overflows


def _less(rows: Tensor, origin: Tensor, dtype: torch.dtype) -> Tensor:
    wide = torch.promote_types(rows.dtype, dtype)
    return rows.to(wide).sub_(origin.to(wide)).to(dtype)  # rows are a copy


def _slack(d: int) -> float:
    return (d + 16) * torch.finfo(torch.float32).eps
