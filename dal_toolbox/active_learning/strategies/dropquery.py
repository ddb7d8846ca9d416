"""DropQuery (Gupte et al., 2024, https://arxiv.org/abs/2401.14555)."""

import math

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick, fill_at_random
from dal_toolbox.active_learning.strategies._pool import check_count, check_finite, rows_of
from dal_toolbox.active_learning.strategies._predictions import fitted, logit_blocks
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import at_least, between
from dal_toolbox.progress import log

ROWS = 1024  # masked at a time: what fits into the cache


@STRATEGIES.register("dropquery")
class DropQuery(QueryStrategy):
    """Clusters the items whose prediction changes when features are dropped; takes the central ones.

    Candidates change their prediction under more than half of the masks. While they are fewer than
    ``candidates_per_pick`` · n, one change less is asked for, down to a single one. They are
    clustered by k-means into n groups (unit-norm features), and the item nearest to each centroid
    is taken, large clusters first, ties to the lowest index. Fewer than n candidates are filled up
    at random; at cold start all items are candidates; this is logged. num_masks + 1 predictions of
    each item, and O(n·d) for each candidate and step of k-means.

    Args:
        num_masks: Number of dropout masks, drawn for each item anew.
        dropout: Share of the features that a mask sets to zero, in steps of 2⁻¹⁶; the others are
            scaled up.
        candidates_per_pick: Candidates wanted for each item to pick.
    """

    needs = FEATURES | PREDICTIONS
    starts_cold = True  # clusters all items

    def __init__(
        self, *, num_masks: int = 3, dropout: float = 0.75, candidates_per_pick: int = 25
    ) -> None:
        check_count(num_masks=num_masks)
        between(0, 1 - 2**-16, dropout=dropout)
        at_least(1, candidates_per_pick=candidates_per_pick)
        self.num_masks = num_masks
        self.dropout = dropout
        self.candidates_per_pick = candidates_per_pick

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            log.info("DropQuery needs a classifier: all items are candidates instead")
            return cluster_pick(context, context.unlabeled, n)
        candidates = context.unlabeled[self.select(self.changes(context), n)]
        return fill_at_random(context, cluster_pick(context, candidates, n), n)

    def changes(self, context: QueryContext) -> np.ndarray:
        """How many masks change the prediction of each unlabeled item. Shape: (n_unlabeled,)."""
        changes = [np.empty(0, np.int64)]
        for indices, logits in logit_blocks(context):
            predicted = _argmax(logits)
            for first in range(0, len(indices), ROWS):
                part = slice(first, first + ROWS)
                rows = context.features[rows_of(context, indices[part])].float()
                rows = check_finite(rows / (1 - self.dropout))
                masked = self._masked_predictions(context, rows)
                changes.append((masked != predicted[part]).sum(axis=0))
        return np.concatenate(changes)

    def select(self, changes: np.ndarray, n: int) -> np.ndarray:
        """Whether an item is a candidate. Shape: (n_unlabeled,)."""
        needed = self.num_masks // 2 + 1
        while needed > 1 and (changes >= needed).sum() < self.candidates_per_pick * n:
            needed -= 1
        return changes >= needed

    def _masked_predictions(self, context: QueryContext, rows: Tensor) -> np.ndarray:
        """Predictions (M, b) of rows (b, d) under M masks."""
        predictions = []
        for _ in range(self.num_masks):
            kept = draw_mask(context.rng, tuple(rows.shape), self.dropout)
            masked = torch.from_numpy(rows.cpu().numpy() * kept).to(rows.device)
            predictions.append(_argmax(fitted(context).logits(masked)))
        return np.stack(predictions)


def draw_mask(rng: np.random.Generator, shape: tuple[int, ...], dropout: float) -> np.ndarray:
    """False with probability ``dropout``, in steps of 2⁻¹⁶: four entries of each random number."""
    size = math.prod(shape)
    numbers = rng.integers(2**64, size=-(-size // 4), dtype=np.uint64).view(np.uint16)
    return (numbers[:size] >= round(dropout * 2**16)).reshape(shape)


def _argmax(logits: Tensor) -> np.ndarray:
    return np.asarray(logits.cpu().numpy().argmax(axis=1))  # many times as fast as that of torch
