"""CAL: contrastive active learning (Margatina et al., 2021, https://arxiv.org/abs/2109.03764)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext, rows_at
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick
from dal_toolbox.active_learning.strategies._pool import rows_of
from dal_toolbox.active_learning.strategies._predictions import fitted, logit_blocks
from dal_toolbox.active_learning.strategies._screening import UNIT, ScreenedStrategy
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    check_size,
)
from dal_toolbox.arguments import at_least
from dal_toolbox.neighbors import knn

DECIMALS = 12  # of a score: equal predictions get equal scores, whatever the order of a sum
CACHED = 2**18  # numbers of a part of a block: its temporaries stay in the cache


@dataclass(frozen=True)
class Compared:
    """Items and their nearest labeled items.

    Args:
        logits: Shape: (b, C).
        nearest: Rows of the tables. Shape: (b, k).
        table: Probabilities of the labeled items, and their negative entropy, float64.
            Shape: (L, C + 1).
        single: The same in float32.
    """

    logits: Tensor
    nearest: Tensor
    table: Tensor
    single: Tensor

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, rows: slice | Tensor) -> "Compared":
        return Compared(self.logits[rows], self.nearest[rows], self.table, self.single)

    def numel(self) -> int:
        return self.logits.numel() + self.nearest.numel()


@STRATEGIES.register("cal")
class CAL(ScreenedStrategy[Compared]):
    """Prefers items that are predicted unlike their nearest labeled neighbors.

    The score is the mean of KL(p_neighbor ‖ p_item) over the nearest labeled items, in cosine
    distance of the features; the predictions of the neighbors are used, not their labels. All
    labeled items are neighbors if they are fewer than ``num_neighbors``. The ``candidates_per_pick`` · n
    items with the largest scores are clustered by k-means into n groups (unit-norm features), and
    the item nearest to each centroid is taken, large clusters first. Ties of the score are broken by
    the rng. Random at cold start. O(N·(L·d + k·C)). Scores are float32 at first, and float64 where
    they decide a pick.

    Deviation: the paper takes 10 neighbors, of hundreds of labeled items, and the n largest scores.
    If few items are labeled, 10 neighbors are of many classes, and the largest scores are those of
    the surest predictions: batches of look-alikes, far worse than random ones on digits. With one
    neighbor they are as good as random ones; with clusters, too, they are better on digits, and as
    good on CIFAR-10. ``num_neighbors=10 candidates_per_pick=1`` is the published rule.

    Args:
        num_neighbors: Number of labeled neighbors, k.
        candidates_per_pick: Items that are clustered, for each item to pick; 1: no clusters.
    """

    needs = FEATURES | PREDICTIONS

    def __init__(self, *, num_neighbors: int = 1, candidates_per_pick: int = 10) -> None:
        at_least(1, num_neighbors=num_neighbors, candidates_per_pick=candidates_per_pick)
        self.num_neighbors = num_neighbors
        self.candidates_per_pick = candidates_per_pick

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None or self.candidates_per_pick == 1:
            return super().query(context, n)
        leading = super().query(context, min(self.candidates_per_pick * n, len(context.unlabeled)))
        return cluster_pick(context, leading, n)

    def blocks(self, context: QueryContext) -> Iterator[Compared]:
        labeled = rows_of(context, context.labeled)
        p = fitted(context).probabilities(context.features[labeled]).double()  # (L, C)
        table = torch.cat([p, -torch.special.entr(p).sum(dim=1, keepdim=True)], dim=1)
        single = table.float()
        keys = F.normalize(context.features[labeled].float(), dim=1)
        for indices, logits in logit_blocks(context):
            items = rows_at(context.features, indices)
            nearest = nearest_set(items, keys, self.num_neighbors, context.chunk_bytes)
            yield Compared(logits, nearest, table, single)

    def rough(self, block: Compared) -> Tensor:
        mean = F.embedding_bag(block.nearest, block.single, mode="sum") / block.nearest.shape[1]
        gaps = block.logits - block.logits.amax(dim=1, keepdim=True)
        cross = torch.linalg.vecdot(mean[:, :-1], gaps)
        return mean[:, -1] - cross + gaps.exp_().sum(dim=1).log_()

    def exact(self, block: Compared) -> Tensor:
        log_q = block.logits.double().log_softmax(dim=1)  # (b, C)
        mean = F.embedding_bag(block.nearest, block.table, mode="mean")
        divergence = mean[:, -1] - (mean[:, :-1] * log_q).sum(dim=1)
        return divergence.round(decimals=DECIMALS)

    def error(self, block: Compared) -> float:
        """Of sums of k and of C terms, each at most the largest −log q, in any order."""
        low, high = block.logits.aminmax(dim=1)
        (_, classes), (_, neighbors) = block.logits.shape, block.nearest.shape
        farthest = float((high.double() - low).max()) + log(classes)
        return 4 * UNIT * (classes + neighbors + 16) * (1 + farthest)


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
