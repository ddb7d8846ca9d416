"""Uncertainty sampling (Lewis & Gale, 1994, https://arxiv.org/abs/cmp-lg/9407020).

All of them draw at random where no item is labeled yet (cold start). Time O(N C d), memory O(N):
predictions are made block by block and not kept. Scores are float32 at first, and float64 where they
decide a pick.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._predictions import logit_blocks
from dal_toolbox.active_learning.strategies._screening import ScreenedPredictions
from dal_toolbox.active_learning.strategies.base import PREDICTIONS, STRATEGIES


class UncertaintySampling(ScreenedPredictions):
    """Scores of the logits."""

    needs = PREDICTIONS

    def blocks(self, context: QueryContext) -> Iterator[Tensor]:
        return (logits for _, logits in logit_blocks(context))


@STRATEGIES.register("least_confident")
class LeastConfident(UncertaintySampling):
    """Prefers items whose most likely class is unlikely: 1 − p₁ (Culotta & McCallum, 2005)."""

    def rough(self, block: Tensor) -> Tensor:
        return 1 - 1 / (block - block.amax(dim=1, keepdim=True)).exp_().sum(dim=1)

    def exact(self, block: Tensor) -> Tensor:
        return 1 - 1 / _gaps(block).exp_().sum(dim=1)


@STRATEGIES.register("margin")
class MarginSampling(UncertaintySampling):
    """Prefers items whose two most likely classes are close: p₂ − p₁ (Scheffer et al., 2001)."""

    def rough(self, block: Tensor) -> Tensor:
        return _lead(block.softmax(dim=1))

    def exact(self, block: Tensor) -> Tensor:
        weights = _gaps(block).exp_()
        total = weights.sum(dim=1)
        return _lead(weights) / total


@STRATEGIES.register("entropy")
class EntropySampling(UncertaintySampling):
    """Prefers items with a large entropy −Σ p log p of the prediction (Shannon, 1948)."""

    def rough(self, block: Tensor) -> Tensor:
        gaps = block - block.amax(dim=1, keepdim=True)
        weights = gaps.exp()
        total = weights.sum(dim=1)
        return total.log() - torch.linalg.vecdot(weights, gaps) / total

    def exact(self, block: Tensor) -> Tensor:
        gaps = _gaps(block)
        weights = gaps.exp()
        total = weights.sum(dim=1)
        return total.log() - weights.mul_(gaps).sum(dim=1) / total


def _gaps(logits: Tensor) -> Tensor:
    """Logits minus the largest one, float64. Shape: (b, C)."""
    gaps = logits.double()
    return gaps - gaps.amax(dim=1, keepdim=True)


def _lead(weights: Tensor) -> Tensor:
    """Second largest minus largest, overwriting the weights. Shapes: (b, C) -> (b,)."""
    largest = weights.amax(dim=1)
    where = torch.from_numpy(
        weights.cpu().numpy().argmax(axis=1)
    )  # torch's takes four times as long
    weights.scatter_(1, where.to(weights.device)[:, None], 0.0)
    return weights.amax(dim=1) - largest
