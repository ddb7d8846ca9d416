"""Squared distances of all pairs: bounds from few dimensions in float32, exact ones where they decide."""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._cover_blocks import as_slice
from dal_toolbox.active_learning.strategies._cover_kernel import ROWS, UNIT
from dal_toolbox.neighbors._sides import UNDERFLOW

WIDTHS = 32, 64, 128  # of short rows
LOST = 0.02  # mean square that short rows may lose
TRAINED_ON = 4096  # items that the directions of short rows come from
# More pairs for each of a tile, for each of its columns, take longer one by one than as products.
MANY = 1 / 128, 1 / 8
PAIR_ENTRIES = 2**17  # of rows that are compared at once: they stay in the cache


class Rows(NamedTuple):
    """Rows z (n, w) in place of rows x (n, d), and a rest r ≥ 0 of each (n,).

    ‖z − z′‖² ≤ ‖x − x′‖² ≤ ‖z − z′‖² + 4 r r′: z holds the coordinates of x in a few orthonormal
    directions, and the length r of the rest. With r = 0, it is x itself.
    """

    rows: Tensor
    squares: Tensor  # ‖z‖², float32
    rests: Tensor

    @classmethod
    def whole(cls, x: Tensor) -> Self:
        squares = x.new_empty(len(x))  # filled in place: small results would keep large blocks
        for rows, into in zip(x.split(ROWS), squares.split(ROWS), strict=True):
            into.copy_(rows.double().square_().sum(dim=1))
        return cls(x, squares, x.new_zeros(len(x)))

    @classmethod
    def short(cls, x: Tensor) -> Self | None:
        """Rows of a few dimensions that lose little; none if there are no such rows."""
        if len(x) < 2:
            return None
        some = x[:: -(-len(x) // TRAINED_ON)].double()
        center = some.mean(dim=0)
        some -= center
        losses, directions = torch.linalg.eigh(some.T @ some / len(some))  # ascending
        lost = losses.clamp(min=0).cumsum(0).flip(0)  # where 0, 1, … are kept
        for width in WIDTHS:
            if 2 * width <= x.shape[1] and float(lost[width - 1]) < LOST:
                return cls._project(x, center, directions[:, 1 - width :])
        return None

    @classmethod
    def _project(cls, x: Tensor, center: Tensor, directions: Tensor) -> Self:
        rows = x.new_empty((len(x), directions.shape[1] + 1))
        squares, rests = x.new_empty(len(x)), x.new_empty(len(x))
        blocks = (whole.split(ROWS) for whole in (x, rows, squares, rests))
        for block, short, square, rest in zip(*blocks, strict=True):
            centered = block.double() - center
            inside = centered @ directions
            left = torch.linalg.vector_norm(centered - inside @ directions.T, dim=1)
            short.copy_(torch.cat([inside, left[:, None]], dim=1))
            square.copy_(centered.square_().sum(dim=1))
            rest.copy_(left + 4 * UNIT * square.sqrt())  # rounded up
        return cls(rows, squares, rests)

    @property
    def epsilon(self) -> float:
        """(1 − ε) (‖a‖² + ‖b‖²) − 2 a·b in float32 is at most the squared distance (Higham, 2002)."""
        return (self.rows.shape[1] + 64) * UNIT

    def lower(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Bounds of the squared distances: items (b,) and (w,) -> (b, w)."""
        left, right = (1 - self.epsilon) * self.squares[rows], as_slice(columns)
        shares = (1 - self.epsilon) * self.squares[right]
        bounds = torch.addmm(shares, self.rows[rows], self.rows[right].T, alpha=-2)
        return bounds.add_(left[:, None])

    def gap(self, left: Tensor, right: Tensor) -> Tensor:
        """How far above its bound a squared distance can be, for pairs of items. Float64."""
        norms = self.squares[left].double() + self.squares[right]
        return 4 * self.rests[left].double() * self.rests[right] + 3 * self.epsilon * norms


class Distances:
    """Squared distances between items; what it returns does not depend on ``chunk_bytes``.

    Args:
        x: Float32. Shape: (n, d).
        chunk_bytes: Bound of the working memory of exact distances.
    """

    def __init__(self, x: Tensor, chunk_bytes: int) -> None:
        self.x, self.size = x, max(1, min(PAIR_ENTRIES, chunk_bytes // 64) // x.shape[1])
        short = Rows.short(x)
        self.stages = [Rows.whole(x)] if short is None else [short, Rows.whole(x)]

    def lower(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Bounds from below, float32: items (b,) and (w,) -> (b, w)."""
        return self.stages[0].lower(rows, columns)

    def below(
        self, rows: Tensor, columns: Tensor, limits: Tensor, masked: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs that may be nearer than a limit, all that are nearer among them.

        Args:
            rows: Items. Shape: (b,).
            columns: Items. Shape: (w,).
            limits: Of the squared distances of each row, float64. Shape: (b,).
            masked: Pairs to leave out. Shape: (b, w).

        Returns:
            Places in ``rows`` and in ``columns``, and whether the pair is surely nearer. Shape: (p,).
        """
        most = max(MANY[0] * len(rows), MANY[1]) * len(columns)
        for stage in self.stages:
            bounds = stage.lower(rows, columns)
            if masked is not None:
                bounds.masked_fill_(masked, torch.inf)
            row, column, least = _smaller(bounds, (limits * (1 + 4 * UNIT)).float())
            sure = least.double() + stage.gap(rows[row], columns[column]) < limits[row]
            if len(sure) - int(sure.sum()) <= most:
                break
        return row, column, sure

    def exact(self, left: Tensor, right: Tensor) -> Tensor:
        """Squared distances of pairs of items, as float64 differences. Shape: (p,)."""
        squared = torch.empty(len(left), dtype=torch.float64, device=self.x.device)
        parts = (some.split(self.size) for some in (left, right, squared))
        for i, j, into in zip(*parts, strict=True):
            into.copy_(self.x[i].double().sub_(self.x[j].double()).square_().sum(dim=1))
        return squared

    def nearer(self, left: Tensor, right: Tensor, limit: float) -> Tensor:
        """Whether pairs of items have a smaller squared distance. Shape: (p,)."""
        squared = torch.empty(len(left), dtype=torch.float64, device=self.x.device)
        parts = (some.split(self.size) for some in (left, right, squared))
        for i, j, into in zip(*parts, strict=True):
            into.copy_(torch.linalg.vector_norm(self.x[i].sub_(self.x[j]), dim=1))
        squared.square_()
        slack = squared * ((self.x.shape[1] + 16) * UNIT) + UNDERFLOW  # of float32
        result = squared + slack < limit
        unsure = (~result & (squared - slack < limit)).nonzero().squeeze(1)
        result[unsure] = self.exact(left[unsure], right[unsure]) < limit
        return result


def _smaller(values: Tensor, limits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values (p,) of what is smaller than the limit of its row."""
    if values.device.type == "cpu":  # numpy is five times as fast here
        small = np.flatnonzero(values.numpy() < limits.numpy()[:, None])
        flat = torch.from_numpy(small)
    else:
        flat = (values < limits[:, None]).flatten().nonzero().squeeze(1)
    row = flat // values.shape[1]
    return row, flat - row * values.shape[1], values.flatten()[flat]
