"""Uncertainty sampling (Lewis & Gale, 1994, https://arxiv.org/abs/cmp-lg/9407020).

All of them draw at random where no item is labeled yet (cold start).
"""

import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies.base import STRATEGIES, ScoreStrategy


@STRATEGIES.register("least_confident")
class LeastConfident(ScoreStrategy):
    """Prefers items whose most likely class is unlikely: 1 − p₁ (Culotta & McCallum, 2005)."""

    def score(self, context: QueryContext) -> Tensor:
        return 1 - context.probabilities.amax(dim=1)


@STRATEGIES.register("margin")
class MarginSampling(ScoreStrategy):
    """Prefers items whose two most likely classes are close: p₂ − p₁ (Scheffer et al., 2001)."""

    def score(self, context: QueryContext) -> Tensor:
        top = context.probabilities.topk(2, dim=1).values  # (n_unlabeled, 2)
        return top[:, 1] - top[:, 0]


@STRATEGIES.register("entropy")
class EntropySampling(ScoreStrategy):
    """Prefers items with a large entropy −Σ p log p of the prediction (Shannon, 1948)."""

    def score(self, context: QueryContext) -> Tensor:
        return torch.special.entr(context.probabilities).sum(dim=1)  # 0 log 0 = 0
