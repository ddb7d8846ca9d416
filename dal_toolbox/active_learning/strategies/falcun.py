"""FALCUN (Gilhuber et al., 2024, https://doi.org/10.1007/978-3-031-70371-3_24)."""

import numpy as np
import torch

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies._d2_sampling import (
    ITEMS_PER_REFUSAL,
    PATIENCE,
    proposals,
)
from dal_toolbox.active_learning.strategies._predictions import blocks, kept_dtype
from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)

DUPLICATE = 1e-12  # L1 distance below which probabilities are the same


@STRATEGIES.register("falcun")
class Falcun(QueryStrategy):
    """Draws items that are uncertain and predicted unlike those drawn before; uses no features.

    An item is drawn with probability ∝ (u + d)^γ: u is one minus the margin p₁ − p₂; d starts as u,
    falls to the L1 distance of the probabilities to the nearest pick, and is scaled to [0, 1]
    over the items not yet drawn (0 where all are equal). Uniform where all weights are 0. Random
    at cold start. O(N C) for the predictions and O(N) for a pick: distances are upper bounds
    until their item is proposed. Predictions of more than 2 GiB in float32 are kept in float16.

    Args:
        gamma: Exponent γ: 0 is uniform, large values take the largest weights.
    """

    def __init__(self, *, gamma: float = 10.0) -> None:
        if not 0 <= gamma < np.inf:
            raise ValueError(f"gamma={gamma}: it must be 0 or more, finite")
        self.gamma = gamma

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        try:
            distances = Distances.of(context)
        except NoClassifier:
            return random_query(context, n, instead_of=type(self).__name__)
        picks = [self._draw(distances, context.rng) for _ in range(n)]
        return context.unlabeled[picks]

    def _draw(self, distances: "Distances", rng: np.random.Generator) -> int:
        free = np.flatnonzero(distances.free)
        low, high = distances.extremes()
        while True:
            weights = self._weights(distances, free, low, high)
            if not weights.any():
                return distances.take(int(rng.choice(free)))
            refusals = PATIENCE + len(free) // ITEMS_PER_REFUSAL
            for at in proposals(weights, rng):
                distances.measure(free[[at]])
                weight = self._weights(distances, free[[at]], low, high)[0]
                if rng.random() * weights[at] < weight:
                    return distances.take(int(free[at]))
                weights[at] = weight
                refusals -= 1
                if refusals == 0:
                    break
            distances.measure(free)

    def _weights(
        self, distances: "Distances", items: np.ndarray, low: float, high: float
    ) -> np.ndarray:
        """In units of the largest that can be; too large where a distance is a bound."""
        scaled = np.zeros(len(items))
        if high > low:
            scaled = ((distances.values[items] - low) / (high - low)).clip(0, 1)
        return ((distances.uncertainty[items] + scaled) / 2) ** self.gamma


class Distances:
    """L1 distances of probabilities to the nearest pick; upper bounds until they are measured."""

    def __init__(self, p: torch.Tensor, uncertainty: np.ndarray, chunk_bytes: int) -> None:
        self.p = p  # (n, C)
        self.uncertainty = uncertainty
        self.chunk_bytes = chunk_bytes
        self.values = uncertainty.copy()
        self.free = np.ones(len(p), dtype=bool)
        self._seen = np.zeros(len(p), dtype=np.int64)  # picks that a value accounts for
        self._picks: list[int] = []
        self._low: float | None = None

    @classmethod
    def of(cls, context: QueryContext) -> "Distances":
        n, num_classes = len(context.unlabeled), context.num_classes
        p = torch.empty(
            n, num_classes, dtype=kept_dtype(n, num_classes), device=context.features.device
        )
        uncertainty = np.empty(n)
        for part, block in blocks(context):
            p[part] = block.probabilities.to(p.dtype)
            top = block.probabilities.topk(min(2, num_classes), dim=1).values
            margin = top[:, 0] - top[:, 1] if num_classes > 1 else top[:, 0]
            uncertainty[part] = (1 - margin).clamp(0, 1).cpu().numpy()
        return cls(p, uncertainty, context.chunk_bytes)

    def take(self, item: int) -> int:
        """Makes an item a pick."""
        self.free[item] = False
        self._picks.append(item)
        if self._low is not None:
            self.measure(np.array([item]), but_last=True)
            if self.values[item] <= self._low:
                self._low = None  # it was the nearest: all must be measured
            else:
                self._lower_by(item)
        return item

    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest exact value of the free items."""
        free = np.flatnonzero(self.free)
        if self._low is None:
            self.measure(free)
            self._low = float(self.values[free].min())
        size, high = 64, -np.inf
        while True:
            top = free
            if len(free) > size:
                top = free[np.argpartition(-self.values[free], size)[:size]]
            self.measure(top)
            high = float(self.values[top].max())
            if len(top) == len(free) or self.values[free].max() <= high:
                return self._low, high
            size *= 2

    def measure(self, items: np.ndarray, *, but_last: bool = False) -> None:
        """Makes the values of items exact."""
        until = len(self._picks) - but_last
        items = items[self._seen[items] < until]
        if len(items) == 0:
            return
        picks = self._picks[int(self._seen[items].min()) : until]
        size = max(1, self.chunk_bytes // (16 * (self.p.shape[1] + len(picks))))
        for part in np.array_split(items, -(-len(items) // size)):
            rows = self.p[torch.from_numpy(part).to(self.p.device)].double()
            nearest = torch.cdist(rows, self.p[picks].double(), p=1).amin(dim=1).cpu().numpy()
            nearest[nearest < DUPLICATE] = 0
            self.values[part] = np.minimum(self.values[part], nearest)
            self._seen[part] = until

    def _lower_by(self, item: int) -> None:
        """Lowers the smallest value by a new pick.

        Only items whose probability of one class is as close can be so close in all of them.
        """
        assert self._low is not None
        row = self.p[item]
        column = self.p[:, int(row.argmax())]
        gap = (column.double() - row.max().double()).abs().cpu().numpy()
        close = np.flatnonzero(self.free & (gap < self._low))
        self.measure(close)
        if len(close):
            self._low = min(self._low, float(self.values[close].min()))
