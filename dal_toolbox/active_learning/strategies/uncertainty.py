"""Uncertainty sampling (Lewis & Gale, 1994, https://arxiv.org/abs/cmp-lg/9407020).

All of them draw at random where no item is labeled yet (cold start). Time O(N C d), memory O(N):
predictions are made block by block and not kept.
"""

import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._blocks import score_predictions
from dal_toolbox.active_learning.strategies.base import STRATEGIES, ScoreStrategy


@STRATEGIES.register("least_confident")
class LeastConfident(ScoreStrategy):
    """Prefers items whose most likely class is unlikely: 1 − p₁ (Culotta & McCallum, 2005)."""

    def score(self, context: QueryContext) -> Tensor:
        return score_predictions(context, lambda p: 1 - p.amax(dim=1))


@STRATEGIES.register("margin")
class MarginSampling(ScoreStrategy):
    """Prefers items whose two most likely classes are close: p₂ − p₁ (Scheffer et al., 2001)."""

    def score(self, context: QueryContext) -> Tensor:
        return score_predictions(context, lambda p: p.topk(2, dim=1).values.diff(dim=1)[:, 0])


@STRATEGIES.register("entropy")
class EntropySampling(ScoreStrategy):
    """Prefers items with a large entropy −Σ p log p of the prediction (Shannon, 1948)."""

    def score(self, context: QueryContext) -> Tensor:
        return score_predictions(context, lambda p: torch.special.entr(p).sum(dim=1))  # 0 log 0 = 0
