"""Nearest centers from a few leading coordinates, where these decide.

Features vary in few directions. Along orthonormal axes V with coordinates p = Vᵀ(x − μ) and a rest of
length ρ, an inner product is known up to the product of two rests: |(x − μ)·c − p·q| ≤ ρ σ (Cauchy and
Schwarz), q and σ those of c. So most items find their center in a fraction of the operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor

from dal_toolbox.neighbors._nearest import blocks, leaders, nearest_center
from dal_toolbox.neighbors._sides import UNDERFLOW, plain_float32
from dal_toolbox.neighbors.search import CHUNK_BYTES
from dal_toolbox.seeding import generator

SHARES = 16, 8, 4  # of the dimensions, one part in so many may be kept
WORTH = 0.5  # of the operations of all dimensions, beyond which it is not worth it
OVERHEAD = 0.1  # of what is not in products
SMALLEST = 2**30  # products below which it is not worth it, either
TRIED = 1024  # items that the axes are sought with


def center_finder(items: Tensor, centers: Tensor, n: int) -> Callable[..., Tensor]:
    """``nearest_center`` for n items like these, from leading coordinates where that saves much.

    Args:
        items: Some of them. Shape: (m, d).
        centers: Shape: (k, d).
        n: How many there are.

    Returns:
        As ``nearest_center`` without its centers and rows: (b, d) -> (b,).
    """
    leading = Leading.of(items, centers, n)
    find = nearest_center if leading is None else leading.nearest
    return partial(find, centers=centers)


@dataclass(frozen=True, eq=False)
class Leading:
    """Leading axes of some items.

    Attributes:
        origin: μ, as precise as float32. Shape: (d,), float64.
        axes: V, orthonormal columns. Shape: (d, q), float64.
    """

    origin: Tensor
    axes: Tensor

    @classmethod
    def of(cls, items: Tensor, centers: Tensor, n: int) -> Self | None:
        """The axes that save most when n such items look for their center; None if it is little."""
        (k, d), step = centers.shape, max(1, len(items) // TRIED)
        if not pays(n, k, d):
            return None
        some = items[::step].double()
        origin = some.mean(dim=0).float().double()
        axes = _principal_axes(some - origin, d // SHARES[-1])
        tries = [cls(origin, axes[:, : d // share]) for share in SHARES]
        costs = [lead._cost(some, centers) for lead in tries]
        best = min(range(len(costs)), key=costs.__getitem__)
        return tries[best] if costs[best] < WORTH else None

    def short(self, items: Tensor) -> Tensor:
        """Coordinates p̂ and a bound of the length of the rest, float32. Shapes: (m, d) -> (m, q + 1)."""
        short = items.new_empty((len(items), self.axes.shape[1] + 1), dtype=torch.float32)
        origin, axes = self.origin.float(), self.axes.float()
        slack = (2.2 * self.axes.shape[1] ** 0.5 + 4) * self._rounding
        with plain_float32():
            for part, block in blocks(items, items.shape[1]):
                block = block.float() - origin
                coordinates = block @ axes
                squares = torch.linalg.vecdot(block, block)
                rest = squares * (1 + slack) - torch.linalg.vecdot(coordinates, coordinates)
                short[part, :-1], short[part, -1] = coordinates, rest.clamp_(min=0).sqrt_()
        return short

    def nearest(
        self,
        items: Tensor,
        centers: Tensor,
        short: Tensor | None = None,
        *,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Tensor:
        """As ``nearest_center``; ``short`` of the items, where it is known. Shape: (m,)."""
        nearest, sure = self.decide(self.short(items) if short is None else short, centers)
        rows = (~sure).nonzero().squeeze(1)
        if len(rows):
            nearest[rows] = nearest_center(items, centers, rows=rows, chunk_bytes=chunk_bytes)
        return nearest

    def decide(self, short: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest centers, and which of them are sure. Shapes: (m,), (m,)."""
        middle = centers.double().mean(dim=0)
        shifted = centers.double() - middle  # as in nearest_center
        offsets = shifted.square().sum(dim=1) / 2 + shifted @ (middle - self.origin)
        q = shifted @ self.axes
        rest = shifted.square().sum(dim=1) * (1 + 2.0**-22) - q.square().sum(dim=1)
        right = torch.cat([q, rest.clamp_(min=0).sqrt_()[:, None]], dim=1).float()
        reach, bias = float(right.norm(dim=1).max()), float(offsets.abs().max())
        epsilon = (q.shape[1] + 24) * 2.0**-24 + q.shape[1] ** 0.5 * self._rounding
        nearest = torch.empty(len(short), dtype=torch.int64, device=short.device)
        sure = torch.empty(len(short), dtype=torch.bool, device=short.device)
        with plain_float32():
            for part, block in blocks(short, max(len(centers), short.shape[1])):
                upper = torch.addmm(-offsets.float(), block, right.T)  # products of the rests added
                first, lead = leaders(upper)
                error = epsilon * (reach * torch.linalg.vector_norm(block, dim=1) + bias)
                rests = block[:, -1] * right[first, -1]
                nearest[part], sure[part] = first, lead > 2 * (rests + error + UNDERFLOW)
        return nearest, sure

    @property
    def _rounding(self) -> float:
        """Relative error of each of q coordinates in float32 (Higham, 2002, section 3.1)."""
        return (len(self.axes) + 24) * 2.0**-24

    def _cost(self, some: Tensor, centers: Tensor) -> float:
        """Operations, as a share of those with all dimensions."""
        _, sure = self.decide(self.short(some), centers)
        unsure = 1 - float(sure.float().mean())
        return self.axes.shape[1] / len(self.axes) + unsure + OVERHEAD


def pays(n: int, k: int, d: int) -> bool:
    """Whether it is worth a try for n items, k centers and d dimensions."""
    return n * k * d >= SMALLEST and d >= 8 * SHARES[-1]


def _principal_axes(rows: Tensor, q: int) -> Tensor:
    """The first q, nearly, in order: subspace iteration from random directions (Halko et al., 2011,
    https://arxiv.org/abs/0909.4061). Shapes: (m, d) -> (d, q).
    """
    start = generator(0, "axes").standard_normal((rows.shape[1], q))
    basis = torch.from_numpy(start).to(rows)
    for _ in range(2):
        basis = torch.linalg.qr(rows.T @ (rows @ basis)).Q
    short = rows @ basis
    _, rotation = torch.linalg.eigh(short.T @ short)  # ascending
    return basis @ rotation.flip(1)
