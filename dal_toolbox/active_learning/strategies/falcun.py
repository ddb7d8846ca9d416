"""FALCUN (Gilhuber et al., 2024, https://doi.org/10.1007/978-3-031-70371-3_24)."""

import numpy as np
import torch

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies._d2_sampling import Proposals
from dal_toolbox.active_learning.strategies._l1_distances import Distances
from dal_toolbox.active_learning.strategies.base import (
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.arguments import non_negative

PATIENCE = 16  # refused proposals until all items are measured, and more where that is costly
DRIFT = 0.02  # share of its range by which a scale may move while a queue of proposals is valid


@STRATEGIES.register("falcun")
class Falcun(QueryStrategy):
    """Draws items that are uncertain and predicted unlike those drawn before; uses no features.

    An item is drawn with probability ∝ (u + d)^γ: u is one minus the margin p₁ − p₂; d starts as u,
    falls to the L1 distance of the probabilities to the nearest pick, and is scaled to [0, 1]
    over the items not yet drawn (0 where all are equal). Uniform where all weights are 0. Random
    at cold start. O(N C) for the predictions, O(N C B) for all picks at worst: distances are upper
    bounds until their item is proposed, and items are proposed by upper bounds of their weights,
    from queues that serve several picks. Predictions of more than 2 GiB in float32 are kept in float16.

    Args:
        gamma: Exponent γ: 0 is uniform, large values take the largest weights.
    """

    needs = PREDICTIONS

    def __init__(self, *, gamma: float = 10.0) -> None:
        non_negative(gamma=gamma)
        self.gamma = gamma

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, dtype=np.int64)
        try:
            distances = Distances.of(context)
        except NoClassifier:
            return random_query(context, n, instead_of=type(self).__name__)
        return context.unlabeled[self.draw(distances, n, context.rng)]

    def draw(self, distances: Distances, n: int, rng: np.random.Generator) -> list[int]:
        """N positions in order of choice."""
        refusals = 0
        while len(distances.picks) < n:
            patience = PATIENCE + distances.patience
            if refusals >= patience:
                distances.measure(np.flatnonzero(distances.free))
                refusals = 0
            refusals += self._draw_from_queue(distances, n, patience - refusals, rng)
        return distances.picks

    def _draw_from_queue(
        self, distances: Distances, n: int, patience: int, rng: np.random.Generator
    ) -> int:
        """Draws until a queue is empty or no longer valid; returns the number of refused proposals.

        A scaled distance grows as the ends of the scale fall. So a weight whose scale begins and
        ends lower, by the drift, is an upper bound until one of the ends has fallen farther.
        """
        low, high = distances.extremes()
        drift = DRIFT * (high - low)
        floor, ceiling = low - drift, high - drift
        free = np.flatnonzero(distances.free)
        weights = self._weights(distances, free, floor, ceiling)
        if not weights.any():
            distances.take(int(rng.choice(free)))
            return 0
        refusals = 0
        for at in Proposals(weights, rng):
            item = free[at : at + 1]
            distances.measure(item)
            weight = self._weights(distances, item, low, high)[0]
            if rng.random() * weights[at] < weight:
                distances.take(int(item[0]))
                weights[at] = 0
                if len(distances.picks) == n:
                    break
                low, high = distances.extremes()
                if low < floor or high < ceiling or drift == 0:
                    break
            else:
                weights[at] = self._weights(distances, item, floor, ceiling)[0]
                refusals += 1
                if refusals >= patience:
                    break
        return refusals

    def _weights(
        self, distances: Distances, items: np.ndarray, low: float, high: float
    ) -> np.ndarray:
        """In units of the largest that can be; too large where a distance is a bound."""
        scaled = np.zeros(len(items))
        if high > low:
            scaled = ((distances.values[items] - low) / (high - low)).clip(0, 1)
        halves = torch.from_numpy((distances.uncertainty[items] + scaled) / 2)
        return halves.pow_(self.gamma).numpy()  # three times as fast as that of numpy
