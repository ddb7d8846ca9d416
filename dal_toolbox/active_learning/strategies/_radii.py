"""A radius for every labeled item, by the purity of its ball (Mishal & Weinshall, 2024)."""

from collections.abc import Iterator

import torch
from torch import Tensor


def covered_share(
    x: Tensor, centers: Tensor, radii: Tensor, *, chunk_bytes: int
) -> tuple[Tensor, float]:
    """Which items lie in an open ball around a center, and their share.

    Args:
        x: Shape: (n, d).
        centers: Positions in x; each lies in its own ball. Shape: (c,).
        radii: Shape: (c,).
        chunk_bytes: Bound of the working memory.
    """
    covered = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    covered[centers] = True
    limits = radii.double().square()
    for rows, columns, squared in _tiles(x, centers, chunk_bytes):
        covered[columns] |= (squared < limits[rows, None]).any(dim=0)
    return covered, float(covered.double().mean())


def pure_radii(share: Tensor, purity: float, max_radius: float) -> Tensor:
    """Bisects, for every center, the radius at which its open ball falls below a purity.

    From (0, ``max_radius``), the half with the limit is kept until it is a cell of the grid; its
    middle is the radius.

    Args:
        share: As of ``ball_purities``. Shape: (c, 2^s).
        purity: Of an acceptable ball.
        max_radius: Upper bound of a radius.

    Returns:
        Float64. Shape: (c,).
    """
    low = torch.zeros(len(share), dtype=torch.int64, device=share.device)
    width = cells = share.shape[1]
    while width > 1:
        width //= 2
        pure = share.gather(1, (low + width - 1)[:, None]).squeeze(1) >= purity
        low += pure * width
    return (low.double() + 0.5) * max_radius / cells


def ball_purities(
    x: Tensor,
    labels: Tensor,
    centers: Tensor,
    *,
    max_radius: float,
    resolution: float,
    chunk_bytes: int,
) -> Tensor:
    """Purity of balls of all radii that bisection can meet: j · max_radius / 2^s, j = 1, …, 2^s.

    The purity of a ball is the share of its items, center included, with the label of the center.
    One pass over the distances counts the items of every ball.

    Args:
        x: Shape: (n, d).
        labels: Of all items, known or predicted. Shape: (n,).
        centers: Positions in x. Shape: (c,).
        max_radius: Largest radius.
        resolution: The cells of the grid are not longer than this, and at most half as short.
        chunk_bytes: Bound of the working memory.

    Returns:
        Float64. Shape: (c, 2^s).
    """
    cells = 1
    while max_radius / cells > resolution:
        cells *= 2
    edges = (torch.arange(1, cells + 1, device=x.device).double() * max_radius / cells).square()
    counts = torch.zeros((2, len(centers), cells + 1), dtype=torch.int64, device=x.device)
    for rows, columns, squared in _tiles(x, centers, chunk_bytes):
        cell = torch.bucketize(squared, edges, right=True)  # ball j + 1 is the first with it
        same = labels[centers[rows]][:, None] == labels[columns]
        for kind, ones in enumerate((torch.ones_like(cell), same.long())):
            counts[kind, rows].scatter_add_(1, cell, ones)
    inside, alike = counts.cumsum(dim=2)[:, :, :cells].unbind(0)
    return alike.double() / inside.clamp(min=1)


def _tiles(x: Tensor, centers: Tensor, chunk_bytes: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Squared distances from centers to items in float64; that to itself is 0."""
    height = max(1, min(256, len(centers)))
    width = max(1, min(2**21, chunk_bytes // 4) // (8 * height + 16 * x.shape[1]))
    for first in range(0, len(centers), height):
        rows = slice(first, first + height)
        mine = centers[rows]
        a = x[mine].double()
        for start in range(0, len(x), width):
            columns = slice(start, start + width)
            b = x[columns].double()
            norms = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
            squared = norms.addmm(a, b.T, alpha=-2).clamp_(min=0)
            here = ((mine >= start) & (mine < start + len(b))).nonzero().squeeze(1)
            squared[here, mine[here] - start] = 0
            yield rows, columns, squared
