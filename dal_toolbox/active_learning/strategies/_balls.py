"""Coverage by open balls of one radius: how many uncovered items each ball holds."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._cover_kernel import UNIT
from dal_toolbox.neighbors import CSR, radius_graph
from dal_toolbox.neighbors._sides import plain_float32
from dal_toolbox.progress import log

DENSE = 1 / 64  # share of all pairs from which a graph is slower than distances
SAMPLE = 512  # items that the number of edges is estimated from
HEIGHT = 256  # rows of a tile
TILE = 2**19  # numbers in a tile


class Balls(Protocol):
    """Balls around items; every ball holds its center."""

    def members(self, items: Tensor) -> Tensor:
        """Items that lie in one of the balls around ``items``, ascending."""
        ...

    def counts(self, items: Tensor) -> Tensor:
        """How many of the distinct ``items`` each ball holds. Shape: (n,)."""
        ...


class BallCover:
    """Degrees of the balls: how many uncovered items each holds.

    An item that becomes covered is taken out of the degrees of all balls that hold it, once.
    """

    def __init__(self, balls: Balls, covered: Tensor) -> None:
        self.balls = balls
        self.covered = covered.clone()  # (n,) bool
        self.degrees = balls.counts((~covered).nonzero().squeeze(1))  # (n,)

    def pick(self, item: int) -> None:
        """Covers the ball of an item."""
        members = self.balls.members(torch.tensor([item], device=self.degrees.device))
        new = members[~self.covered[members]]
        self.covered[new] = True
        self.degrees -= self.balls.counts(new)


def balls_of(x: Tensor, radius: float, *, chunk_bytes: int) -> Balls:
    """The balls as a graph where it is sparse and fits into ``chunk_bytes``, else by distances.

    Both are exact as float64 differences, so they lead to the same picks. With the graph, all picks
    take O(number of edges) time; without it, distances are computed anew for the items that become
    covered, each once: O(n) memory, O(n² d) time at most.

    Args:
        x: Shape: (n, d).
        radius: Items nearer than this are in the ball.
        chunk_bytes: Bound of the working memory.
    """
    with plain_float32():
        edges = estimate_edges(x, radius, chunk_bytes)
    if 16 * edges <= chunk_bytes and edges <= DENSE * len(x) ** 2:
        return GraphBalls(radius_graph(x, radius, chunk_bytes=chunk_bytes), chunk_bytes)
    log.debug("about %.1e pairs within %.3g: no graph is made", edges, radius)
    return DistanceBalls(x, radius, chunk_bytes)


class GraphBalls:
    """Balls as a symmetric graph of all pairs nearer than the radius."""

    def __init__(self, graph: CSR, chunk_bytes: int) -> None:
        self.graph = graph
        widest = int(graph.degrees.max()) if len(graph) else 0
        self.size = max(1, chunk_bytes // (32 * (1 + widest)))

    def members(self, items: Tensor) -> Tensor:
        found = [
            torch.cat([part, self._neighbors(part)]).unique() for part in items.split(self.size)
        ]
        return torch.cat([items[:0], *found]).unique()

    def counts(self, items: Tensor) -> Tensor:
        counts = torch.zeros(len(self.graph), dtype=torch.int64, device=items.device)
        for part in items.split(self.size):
            holders = torch.cat([part, self._neighbors(part)])
            counts.index_add_(0, holders, torch.ones_like(holders))
        return counts

    def _neighbors(self, items: Tensor) -> Tensor:
        """The neighbors of several items, one row after the other, int64."""
        start = self.graph.indptr[items]
        count = self.graph.indptr[items + 1] - start
        first = count.cumsum(0) - count
        offset = torch.arange(int(count.sum()), device=items.device)
        return self.graph.indices[offset + (start - first).repeat_interleave(count)].long()


class DistanceBalls:
    """Balls without a graph: bounds in float32, and float64 differences where they do not decide."""

    def __init__(self, x: Tensor, radius: float, chunk_bytes: int) -> None:
        self.x, self.limit, self.chunk_bytes = x.float(), radius**2, chunk_bytes
        self.squares = torch.cat([x.new_empty(0).double(), *map(_squares, self.x.split(8192))])

    def members(self, items: Tensor) -> Tensor:
        held = torch.zeros(len(self.x), dtype=torch.bool, device=items.device)
        for columns, inside in self._tiles(items):
            held[columns] |= inside.any(dim=0)
        return held.nonzero().squeeze(1)

    def counts(self, items: Tensor) -> Tensor:
        counts = torch.zeros(len(self.x), dtype=torch.int64, device=items.device)
        for columns, inside in self._tiles(items):
            counts[columns] += inside.sum(dim=0)
        return counts

    def _tiles(self, items: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Which items lie in which balls: columns and a tile (rows of ``items``, width)."""
        for rows in items.split(HEIGHT) if len(items) else ():
            width = max(1, min(TILE, self.chunk_bytes // 16) // len(rows))
            for start in range(0, len(self.x), width):
                columns = slice(start, start + width)
                with plain_float32():
                    yield columns, self._inside(rows, columns)

    def _inside(self, rows: Tensor, columns: slice) -> Tensor:
        # As in CoverKernel: never more than the squared distance, never less by more than slack.
        epsilon = (self.x.shape[1] + 32) * UNIT
        norms = self.squares[rows, None] + self.squares[columns]
        bounds = ((1 - epsilon) * norms).float().addmm_(self.x[rows], self.x[columns].T, alpha=-2)
        slack = 3 * epsilon * float(norms.max())
        inside = bounds < self.limit - slack
        unsure = ((bounds < self.limit * (1 + 4 * UNIT)) & ~inside).nonzero()
        size = max(1, self.chunk_bytes // (64 * self.x.shape[1]))
        for row, column in (pairs.unbind(1) for pairs in unsure.split(size)):
            a, b = self.x[rows[row]].double(), self.x[columns][column].double()
            inside[row, column] = _squares(a - b) < self.limit
        mine = (rows >= columns.start) & (rows < columns.stop)
        inside[mine.nonzero().squeeze(1), rows[mine] - columns.start] = True
        return inside


def estimate_edges(x: Tensor, radius: float, chunk_bytes: int) -> float:
    """Number of pairs of different items within the radius, from the balls of 512 items."""
    n = len(x)
    some = torch.arange(0, n, max(1, n // SAMPLE), device=x.device)
    a = x[some].float()
    count = 0
    for b in x.split(max(1, chunk_bytes // (16 * (len(a) + x.shape[1])))):
        b = b.float()
        squared = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T
        count += int((squared < radius**2).sum())
    return max(0.0, count / len(some) - 1) * n if n else 0.0


def _squares(rows: Tensor) -> Tensor:
    return rows.double().square().sum(dim=1)
