"""L1 distances of predicted probabilities to the nearest pick, measured only where they are needed."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import ROWS, QueryContext
from dal_toolbox.active_learning.strategies._predictions import kept_dtype, logit_blocks

DUPLICATE = 1e-12  # L1 distance below which probabilities are the same
TOP = 256  # items with the largest bounds, among which the largest value is sought
OVERHEAD = 10**5  # differences that take as long as measuring an item without them
CACHED = 2**18  # numbers of a part of a block: its temporaries stay in the cache


class Distances:
    """Distances to the nearest pick, at most the uncertainty; upper bounds until they are measured.

    Args:
        p: Probabilities, kept as they are. Shape: (n, C).
        uncertainty: Where distances start, while there is no pick. Shape: (n,).
        chunk_bytes: Bound of the working memory.
    """

    def __init__(self, p: Tensor, uncertainty: np.ndarray, chunk_bytes: int) -> None:
        self.p = p
        self.uncertainty = uncertainty
        self.chunk_bytes = chunk_bytes
        self.values = uncertainty.copy()
        self.free = np.ones(len(p), dtype=bool)
        self.picks: list[int] = []
        self._rows = p.new_empty((16, p.shape[1]), dtype=torch.float64)  # of the picks
        self._seen = np.zeros(len(p), dtype=np.int64)  # picks that a value accounts for
        self._low = float(uncertainty.min())
        self._top, self._others = np.empty(0, dtype=np.int64), np.inf  # no other value is larger
        largest = p.amax(dim=1).double().cpu().numpy()
        self._order = largest.argsort()
        self._largest = largest[self._order]

    @classmethod
    def of(cls, context: QueryContext) -> Self:
        """Of the predictions for the unlabeled items."""
        n, num_classes = len(context.unlabeled), context.num_classes
        p = context.features.new_empty((n, num_classes), dtype=kept_dtype(n, num_classes))
        uncertainty = np.empty(n)
        size = max(1, CACHED // num_classes)
        for first, (_, block) in zip(range(0, n, ROWS), logit_blocks(context), strict=True):
            for start in range(0, len(block), size):
                some = block[start : start + size]
                part = slice(first + start, first + start + len(some))
                p[part], uncertain = predictions(some)
                uncertainty[part] = uncertain.cpu().numpy()
        return cls(p, uncertainty, context.chunk_bytes)

    @property
    def patience(self) -> int:
        """How many items may be measured one by one for the cost of all."""
        differences = max(1, len(self.picks)) * self.p.shape[1]
        return 1 + len(self.p) * differences // (OVERHEAD + differences)

    def take(self, item: int) -> None:
        """Makes an item a pick."""
        self.measure(np.array([item]))
        self.free[item] = False
        if len(self.picks) == len(self._rows):
            self._rows = torch.cat([self._rows, torch.empty_like(self._rows)])
        self._rows[len(self.picks)] = self.p[item]
        self.picks.append(item)
        if not self.free.any():
            return
        if self.values[item] <= self._low and not (self.values[self.free] <= self._low).any():
            free = np.flatnonzero(self.free)  # it was the nearest: all must be measured
            self.measure(free)
            self._low = float(self.values[free].min())
        else:
            self._lower_by(item)

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest exact value of the free items."""
        size = TOP
        while True:
            top = self._top[self.free[self._top]]
            self.measure(top)
            high = self.values[top].max(initial=-np.inf)
            if high >= self._others:
                return self._low, float(high)
            self._find_top(size)
            size *= 2

    def measure(self, items: np.ndarray) -> None:
        """Makes the values of items exact."""
        until = len(self.picks)
        items = items[self._seen[items] < until]
        if len(items) == 0:
            return
        picks = self._rows[int(self._seen[items].min()) : until]
        size = max(1, self.chunk_bytes // (16 * (self.p.shape[1] + len(picks))))
        for start in range(0, len(items), size):
            part = items[start : start + size]
            rows = self.p[torch.from_numpy(part).to(self.p.device)].double()
            nearest = torch.cdist(rows, picks, p=1).amin(dim=1).cpu().numpy()
            nearest[nearest < DUPLICATE] = 0
            self.values[part] = np.minimum(self.values[part], nearest)
            self._seen[part] = until

    def _find_top(self, size: int) -> None:
        free = np.flatnonzero(self.free)
        self._top, self._others = free, -np.inf
        if len(free) > size:
            parted = free[np.argpartition(-self.values[free], size)]
            self._top, self._others = parted[:size], float(self.values[parted[size:]].max())

    def _lower_by(self, item: int) -> None:
        """Lowers the smallest value by a new pick.

        Only items whose largest probability is as close, and that of one class, can be so close in all.
        """
        row = self.p[item].double()
        column, largest = int(row.argmax()), float(row.max())
        ends = np.searchsorted(self._largest, [largest - self._low, largest + self._low])
        near = self._order[ends[0] : ends[1]]
        near = near[self.free[near]]
        gap = self.p[torch.from_numpy(near).to(self.p.device), column].double() - largest
        close = near[gap.abs().cpu().numpy() < self._low]
        self.measure(close)
        self._low = float(self.values[close].min(initial=self._low))


def predictions(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities ``(b, C)`` and 1 − (p₁ − p₂) ``(b,)``, of which no digit is lost."""
    odds = logits - logits.amax(dim=1, keepdim=True)
    odds.exp_()
    first = odds.argmax(dim=1, keepdim=True)
    odds.scatter_(1, first, 0.0)
    others = odds.sum(dim=1, keepdim=True)
    uncertain = (others + odds.amax(dim=1, keepdim=True)) / (1 + others)
    return odds.scatter_(1, first, 1.0).div_(1 + others), uncertain.squeeze(1).clamp(max=1).double()
