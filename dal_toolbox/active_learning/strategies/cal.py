"""CAL: contrastive active learning (Margatina et al., 2021, https://arxiv.org/abs/2109.03764)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._pool import rows_of
from dal_toolbox.active_learning.strategies._predictions import fitted, logit_blocks
from dal_toolbox.active_learning.strategies.base import STRATEGIES, ScoreStrategy
from dal_toolbox.neighbors import knn

DECIMALS = 12  # of a score: equal predictions get equal scores, whatever the order of a sum
CACHED = 2**18  # numbers of a part of a block: its temporaries stay in the cache


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
        keys = F.normalize(context.features[labeled].float(), dim=1)
        size = max(1, CACHED // context.num_classes)
        scores = [p.new_empty(0)]
        for indices, logits in logit_blocks(context):
            items = context.features[rows_of(context, indices)]
            nearest = nearest_set(items, keys, self.num_neighbors, context.chunk_bytes)
            for some, own in zip(logits.split(size), nearest.split(size), strict=True):
                log_q = some.double().log_softmax(dim=1)  # (b, C)
                mean_p = F.embedding_bag(own, p, mode="mean")
                divergence = negative_entropy[own].mean(dim=1) - (mean_p * log_q).sum(dim=1)
                scores.append(divergence.round(decimals=DECIMALS))
        return torch.cat(scores)


def nearest_set(items: Tensor, keys: Tensor, k: int, chunk_bytes: int) -> Tensor:
    """The k of L unit-norm keys nearest to each item in cosine distance, in no order. Shape: (m, k).

    All keys if they are fewer. Inner products of float32 decide where the last of them is ahead by
    more than their error can be.
    """
    if k >= len(keys):
        return torch.arange(len(keys), device=keys.device).expand(len(items), -1).contiguous()
    parts = [_largest(part.float(), keys, k) for part in items.split(max(1, CACHED // len(keys)))]
    nearest, certain = (torch.cat(found).to(keys.device) for found in zip(*parts, strict=True))
    doubtful = (~certain).nonzero().squeeze(1)
    if len(doubtful):
        unit = F.normalize(items[doubtful].float(), dim=1)
        nearest[doubtful] = knn(unit, keys, k, metric="cosine", chunk_bytes=chunk_bytes).indices
    return nearest


def _largest(items: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest inner products and whether they are sure to be. Shapes: (m, k), (m,)."""
    products = (items @ keys.T).cpu().numpy()
    ordered = np.partition(products, len(keys) - k, axis=1)
    next_best = ordered[:, : len(keys) - k].max(axis=1)
    error = (items.shape[1] + 8) * 2.0**-23 * torch.linalg.vector_norm(items, dim=1).cpu().numpy()
    certain = ordered[:, len(keys) - k] - next_best > 2 * error  # False for NaN, which knn reports
    chosen = products > next_best[:, None]
    chosen[~certain] = np.arange(len(keys)) < k
    largest = np.flatnonzero(chosen).reshape(-1, k) % len(keys)
    return torch.from_numpy(largest), torch.from_numpy(certain)
