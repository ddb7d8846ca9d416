"""Coverage by open balls of one radius: how many uncovered items each ball holds."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._distances import Distances
from dal_toolbox.neighbors._sides import plain_float32

HEIGHT, WIDTH = 512, 1024  # of a tile that stays in the cache


class BallCover:
    """Degrees of the balls: how many uncovered items each holds.

    An item that becomes covered is taken out of the degrees of all balls that hold it, once.
    """

    def __init__(self, balls: "Balls", covered: Tensor) -> None:
        self.balls = balls
        self.covered = covered.clone()  # (n,) bool
        self.degrees = balls.counts((~covered).nonzero().squeeze(1))  # (n,)

    def pick(self, item: int) -> None:
        """Covers the ball of an item."""
        members = self.balls.members(torch.tensor([item], device=self.degrees.device))
        new = members[~self.covered[members]]
        self.covered[new] = True
        self.degrees -= self.balls.counts(new)


class Balls:
    """Open balls of one radius around items; every ball holds its center.

    There is no graph: distances are computed anew for what is asked, in O(n) memory; what lies in
    a ball is exact as float64 differences are.

    Args:
        x: Float32. Shape: (n, d).
        radius: Items nearer than this are in the ball.
        chunk_bytes: Bound of the working memory.
    """

    def __init__(self, x: Tensor, radius: float, chunk_bytes: int) -> None:
        self.n, self.limit = len(x), radius**2
        self.distances = Distances(x, chunk_bytes)

    def members(self, items: Tensor) -> Tensor:
        """Items that lie in one of the balls around ``items``, ascending."""
        held = torch.zeros(self.n, dtype=torch.bool, device=items.device)
        held[items] = True
        for _, column in self._pairs(items):
            held[column] = True
        return held.nonzero().squeeze(1)

    def counts(self, items: Tensor) -> Tensor:
        """How many of the distinct ``items`` each ball holds. Shape: (n,)."""
        counts = torch.zeros(self.n, dtype=torch.int64, device=items.device)
        counts[items] = 1
        for _, column in self._pairs(items):
            counts += torch.bincount(column, minlength=self.n)
        return counts

    def _pairs(self, items: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of one of the ``items`` and another item nearer than the radius, tile by tile."""
        everything = torch.arange(self.n, device=items.device)
        for rows in items.split(HEIGHT) if len(items) else ():
            limits = torch.full(rows.shape, self.limit, dtype=torch.float64, device=rows.device)
            for columns in everything.split(WIDTH * HEIGHT // len(rows)):
                with plain_float32():
                    row, column, sure = self.distances.below(rows, columns, limits)
                row, column = rows[row], columns[column]
                unsure = (~sure).nonzero().squeeze(1)
                sure[unsure] = self.distances.nearer(row[unsure], column[unsure], self.limit)
                sure &= row != column
                yield row[sure], column[sure]
