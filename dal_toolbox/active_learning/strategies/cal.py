"""CAL: contrastive active learning (Margatina et al., 2021, https://arxiv.org/abs/2109.03764)."""

import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._blocks import fitted, logit_blocks, rows_of
from dal_toolbox.active_learning.strategies.base import STRATEGIES, ScoreStrategy
from dal_toolbox.neighbors import knn

DECIMALS = 12  # of a score: equal predictions get equal scores, whatever the order of a sum


@STRATEGIES.register("cal")
class CAL(ScoreStrategy):
    """Prefers items that are predicted unlike their nearest labeled neighbors.

    The score is the mean of KL(p_neighbor ‖ p_item) over the nearest labeled items, in cosine
    distance of the features; the predictions of the neighbors are used, not their labels. All
    labeled items are neighbors where they are fewer than ``num_neighbors``; ties of the score are
    broken by the rng. Random at cold start. O(N·(L·d + k·C)).

    Args:
        num_neighbors: Number of labeled neighbors, k.
    """

    def __init__(self, *, num_neighbors: int = 10) -> None:
        if num_neighbors < 1:
            raise ValueError(f"num_neighbors={num_neighbors}: it must be at least 1")
        self.num_neighbors = num_neighbors

    def score(self, context: QueryContext) -> Tensor:
        labeled = rows_of(context, context.labeled)
        p = fitted(context).probabilities(context.features[labeled]).double()  # (L, C)
        negative_entropy = -torch.special.entr(p).sum(dim=1)  # (L,)
        keys = context.normalized[labeled]
        k = min(self.num_neighbors, len(keys))
        scores = [p.new_empty(0)]
        for indices, logits in logit_blocks(context):
            items = context.normalized[rows_of(context, indices)]
            nearest = knn(items, keys, k, metric="cosine", chunk_bytes=context.chunk_bytes).indices
            log_q = logits.double().log_softmax(dim=1)  # (b, C)
            mean_p = torch.zeros_like(log_q)
            for j in range(k):  # k matrices at once would be k times the memory
                mean_p += p[nearest[:, j]] / k
            divergence = negative_entropy[nearest].mean(dim=1) - (mean_p * log_q).sum(dim=1)
            scores.append(divergence.round(decimals=DECIMALS))
        return torch.cat(scores)
