"""Disagreement of a posterior's draws: BALD and variation ratio.

Both need a classifier with a posterior, and draw at random at cold start. O(N C M) time; memory is
that of a block of samples.
"""

import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._predictions import blocks, posterior_rows
from dal_toolbox.active_learning.strategies.base import STRATEGIES, ScoreStrategy

DECIMALS = 12  # of a score in nats: beyond is rounding error, and no reason to break a tie


@STRATEGIES.register("bald")
class BALD(ScoreStrategy):
    """Prefers items whose label tells most about the weights: I(y; θ) = H(E p) − E H(p).

    Houlsby et al., 2011, https://arxiv.org/abs/1112.5745; Gal et al., 2017,
    https://arxiv.org/abs/1703.02910. Ties are broken by the rng.
    """

    def score(self, context: QueryContext) -> Tensor:
        scores = context.features.new_zeros(len(context.unlabeled), dtype=torch.float64)
        for part, block in blocks(context, posterior_rows(context.num_classes)):
            scores[part] = mutual_information(block.samples)
        return scores


@STRATEGIES.register("variation_ratio")
class VariationRatio(ScoreStrategy):
    """Prefers items whose predicted class changes from draw to draw: 1 − frequency of the mode.

    Freeman, 1965; Gal et al., 2017, https://arxiv.org/abs/1703.02910. There are at most M
    different scores; ties are broken by the rng.
    """

    def score(self, context: QueryContext) -> Tensor:
        scores = context.features.new_zeros(len(context.unlabeled), dtype=torch.float64)
        for part, block in blocks(context, posterior_rows(context.num_classes)):
            votes = block.samples.argmax(dim=1)  # (m, M)
            scores[part] = 1 - _largest_count(votes).double() / votes.shape[1]
        return scores


def mutual_information(samples: Tensor) -> Tensor:
    """I(y; θ) in nats, ≥ 0, rounded. Shapes: (m, C, M) -> (m,)."""
    p = samples.double()
    information = entropy(p.mean(dim=2)) - entropy(p).mean(dim=1)
    return information.clamp(min=0).round(decimals=DECIMALS)


def entropy(p: Tensor) -> Tensor:
    """−Σ p log p over the second axis, in nats."""
    return torch.special.entr(p).sum(dim=1)


def _largest_count(votes: Tensor) -> Tensor:
    """How often the most frequent value of each row occurs. Shapes: (m, M) -> (m,)."""
    ordered = votes.sort(dim=1).values
    count, run = torch.ones_like(ordered[:, 0]), torch.ones_like(ordered[:, 0])
    for m in range(1, ordered.shape[1]):
        run = torch.where(ordered[:, m] == ordered[:, m - 1], run + 1, 1)
        count = torch.maximum(count, run)
    return count
