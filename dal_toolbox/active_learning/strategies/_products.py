"""Points that are products of two vectors, gᵢ = scaleᵢ · qᵢ ⊗ hᵢ: their distances without forming them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log2

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.neighbors import NotFinite

CENTERS = 256  # that meet the pool in one product
CHUNK_BYTES = 2**23  # of a chunk on a CPU: stays in the cache
CANCELLATION = 2e-3  # D² over squared norm: below, float32 loses too many digits
SLACK = 1.01  # exceeds the relative error of float32 above this line by far
DUPLICATE = 1e-12  # D² over squared norms: below is rounding error of float64
COMMON = 2.0**-40, 2.0**40  # norms of features that float32 products leave room for

Factors = tuple[Tensor, Tensor, Tensor]  # two vectors (m, C) and (m, d) a point, its squared norm


@dataclass
class Products:
    """Points gᵢ = scaleᵢ · qᵢ ⊗ hᵢ in C · d dimensions, never formed.

    ‖gᵢ − gⱼ‖² = ‖gᵢ‖² + ‖gⱼ‖² − 2 scaleᵢ scaleⱼ (qᵢ·qⱼ)(hᵢ·hⱼ).

    Args:
        q: Rows of unit norm or 0. Shape: (n, C).
        scales: Not negative, float64. Shape: (n,).
        features: The whole pool. Shape: (N, d).
        rows: Rows of the features that belong to the points. Shape: (n,).
        chunk_bytes: Bound of the working memory.

    Points closer than 1e-6 of their norms count as equal.

    Attributes:
        norms: ‖gᵢ‖ but for rounding errors of float32; the largest is 1. Shape: (n,).

    Raises:
        NotFinite: A point is not finite.
    """

    q: Tensor
    scales: Tensor
    features: Tensor
    rows: Tensor
    chunk_bytes: int

    def __post_init__(self) -> None:
        self._unit = 1.0
        parts = [(self._q_norms(part), self._h_norms(part)) for part in self.chunks()]
        q_norms, h_norms = (torch.cat(norms) for norms in zip(*parts, strict=True))
        self.norms = q_norms.double() * h_norms * self.scales
        largest = self.norms.max()
        if not torch.isfinite(largest):
            raise NotFinite("features or predictions of the pool hold NaN or infinity")
        if largest > 0:  # in units of the largest: float32 holds the square as well
            self.norms, self.scales = self.norms / largest, self.scales / largest
        longest = float(h_norms.max())
        if longest > 0 and not COMMON[0] < longest < COMMON[1]:
            self._unit = 2.0 ** -round(log2(longest))  # a power of 2 changes no digit
            self.scales = self.scales / self._unit

    def __len__(self) -> int:
        return len(self.q)

    @property
    def width(self) -> int:
        """Multiplications of an inner product."""
        return self.q.shape[1] + self.features.shape[1]

    def h(self, part: slice | Tensor, dtype: torch.dtype) -> Tensor:
        h = self.features[self.rows[part]]
        return h.to(dtype) if self._unit == 1 else (h.double() * self._unit).to(dtype)

    def chunks(self, width: int = 0) -> Iterator[slice]:
        """Parts of the points, with room for ``width`` more numbers in each row."""
        on_cpu = self.q.device.type == "cpu"
        room = min(self.chunk_bytes, CHUNK_BYTES) if on_cpu else self.chunk_bytes
        size = max(1, room // (8 * (self.width + width)))
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))

    def shorten(self, bounds: np.ndarray, centers: list[int]) -> None:
        """Lowers upper bounds of D² (n,) by new centers, in place."""
        for start in range(0, len(centers), CENTERS):
            block = torch.tensor(centers[start : start + CENTERS], device=self.q.device)
            squares = self.norms[block].square().float()
            q = -2 * self.q[block].float() * self.scales[block].float()[:, None]  # (b, C)
            h = self.h(block, torch.float32)  # (b, d)
            for part in self.chunks(len(block)):
                found = self.q[part].float() @ q.T  # (m, b)
                found *= self.h(part, torch.float32) @ h.T
                found *= self.scales[part].float()[:, None]
                nearest = (found + squares).amin(dim=1).double() + self.norms[part].square()
                nearest *= SLACK
                self._measure_again(nearest, part, block)
                bounds[part] = np.minimum(bounds[part], nearest.cpu().numpy())

    def squared_distances(self, part: slice | Tensor, centers: Tensor) -> Tensor:
        """In float64. Shape: (m, b)."""
        return squared_distances(self.factors(part), self.factors(centers))

    def factors(self, part: slice | Tensor) -> Factors:
        q = self.q[part].double() * self.scales[part][:, None]
        h = self.h(part, torch.float64)
        return q, h, q.square().sum(dim=1) * h.square().sum(dim=1)

    def _measure_again(self, nearest: Tensor, part: slice, centers: Tensor) -> None:
        """Replaces what float32 cannot tell from 0."""
        close = (nearest < CANCELLATION * self.norms[part].square()).nonzero().squeeze(1)
        for some in close.split(max(1, len(nearest) // 4)):
            nearest[some] = self.squared_distances(some + part.start, centers).amin(dim=1)

    def _q_norms(self, part: slice) -> Tensor:
        return torch.linalg.vector_norm(self.q[part].float(), dim=1)

    def _h_norms(self, part: slice) -> Tensor:
        return self.h(part, torch.float64).norm(dim=1)


def squared_distances(a: Factors, b: Factors) -> Tensor:
    """Shape: (m, b)."""
    squares = a[2][:, None] + b[2]
    squared = squares - 2 * (a[0] @ b[0].T) * (a[1] @ b[1].T)
    return squared.masked_fill_(squared < DUPLICATE * squares, 0.0)
