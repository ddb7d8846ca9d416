"""Stochastic batch acquisition (Kirsch et al., 2023, https://arxiv.org/abs/2106.12059)."""

from typing import Any

import numpy as np

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies._bases import build_base
from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    ScoreStrategy,
    check_size,
    checked_scores,
    random_query,
)
from dal_toolbox.arguments import non_negative, one_of
from dal_toolbox.errors import UserError

MODES = ("power", "softmax", "softrank")


@STRATEGIES.register("stochastic")
class StochasticAcquisition(QueryStrategy):
    """Draws items in proportion to their scores instead of taking the largest ones.

    The n largest of log-weight + Gumbel noise / β are n draws without replacement from
    weight^β: ``power`` weighs an item by its score s, ``softmax`` by exp(s), ``softrank`` by one
    over its rank (1 is the best; equal scores are ranked at random). Where a score is negative,
    ``power`` takes s − min s, so that ``margin`` weighs an item by one minus its margin, but for a
    constant. Items of weight 0 come last, in random order. Random at cold start if the base
    needs a classifier. O(N log N) on top of the scores.

    Args:
        base: Name of a strategy that scores items.
        mode: ``power``, ``softmax`` or ``softrank``.
        beta: Coldness β: 0 is uniform, large values take the largest scores.
        base_options: Hyperparameters of the base.

    Raises:
        ValueError: The base gives no scores, the mode is unknown or β is negative.
    """

    def __init__(
        self,
        *,
        base: str = "margin",
        mode: str = "power",
        beta: float = 1.0,
        base_options: dict[str, Any] | None = None,
    ) -> None:
        one_of(MODES, mode=mode)
        non_negative(beta=beta)
        self.base = base
        self.mode = mode
        self.beta = beta
        self.base_options = base_options
        self._strategy = _score_strategy(base, base_options)
        self.needs = self._strategy.needs

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        try:
            scores = self._strategy.score(context)
        except NoClassifier:
            return random_query(context, n, instead_of=f"{type(self).__name__} of {self.base}")
        weights = self.log_weights(
            checked_scores(scores, len(context.unlabeled), self.base), context.rng
        )
        noise = context.rng.gumbel(size=len(weights))
        with np.errstate(invalid="ignore"):
            keys = np.where(np.isinf(weights), weights, self.beta * weights + noise)
        order = np.lexsort((-noise, -keys))  # infinite weights: by the noise alone
        return context.unlabeled[order[:n]]

    def log_weights(self, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Logarithms of the weights that β = 1 draws by. Shapes: (n_unlabeled,) -> (n_unlabeled,)."""
        if self.mode == "softmax" or len(scores) == 0:
            return scores
        if self.mode == "softrank":
            shuffled = rng.permutation(len(scores))
            order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
            ranks = np.empty(len(scores))
            ranks[order] = np.arange(1, len(scores) + 1)
            return -np.log(ranks)
        finite = scores[np.isfinite(scores)]
        lowest = finite.min(initial=0.0)
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(scores - lowest, 0))


def _score_strategy(name: str, options: dict[str, Any] | None) -> ScoreStrategy:
    strategy = build_base(name, options, "stochastic")
    if not isinstance(strategy, ScoreStrategy):
        known = [key for key in STRATEGIES if _scores(key)]
        raise ValueError(f"base={name!r}: gives no scores; those that do: {', '.join(known)}")
    return strategy


def _scores(name: str) -> bool:
    try:
        factory = STRATEGIES[name]
    except UserError:  # a broken plugin
        return False
    return isinstance(factory, type) and issubclass(factory, ScoreStrategy)
