"""DropQuery (Gupte et al., 2024, https://arxiv.org/abs/2401.14555)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._blocks import fitted, logit_blocks, rows_of
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick, fill_at_random
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.progress import log


@STRATEGIES.register("dropquery")
class DropQuery(QueryStrategy):
    """Clusters the items whose prediction changes when features are dropped; takes the central ones.

    Candidates change their prediction under more than half of the masks. While they are fewer than
    ``candidates_per_pick`` · n, one change less is asked for, down to a single one. They are
    clustered by k-means into n groups (unit-norm features), and the item nearest to each centroid
    is taken, large clusters first, ties to the lowest index. Fewer than n candidates are filled up
    at random; at cold start all items are candidates; the log says so. num_masks + 1 predictions of
    each item, and O(n·d) for each candidate and step of k-means.

    Args:
        num_masks: Number of dropout masks, drawn for each item anew.
        dropout: Share of the features that a mask sets to zero; the others are scaled up.
        candidates_per_pick: Candidates wanted for each item to pick.
    """

    def __init__(
        self, *, num_masks: int = 3, dropout: float = 0.75, candidates_per_pick: int = 25
    ) -> None:
        if num_masks < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"num_masks={num_masks} must be at least 1, dropout={dropout} in [0, 1)"
            )
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
        parts = [np.empty(0, np.int64)]
        for indices, logits in logit_blocks(context):
            rows = context.features[rows_of(context, indices)].float()
            predicted = logits.argmax(dim=1)
            masked = (self._masked_prediction(context, rows) for _ in range(self.num_masks))
            changed = torch.stack([prediction != predicted for prediction in masked])  # (M, b)
            parts.append(changed.sum(dim=0).cpu().numpy())
        return np.concatenate(parts)

    def select(self, changes: np.ndarray, n: int) -> np.ndarray:
        """Whether an item is a candidate. Shape: (n_unlabeled,)."""
        needed = self.num_masks // 2 + 1
        while needed > 1 and (changes >= needed).sum() < self.candidates_per_pick * n:
            needed -= 1
        return changes >= needed

    def _masked_prediction(self, context: QueryContext, rows: Tensor) -> Tensor:
        keep = context.rng.random(rows.shape, dtype=np.float32) >= self.dropout
        masked = rows * torch.from_numpy(keep).to(rows.device) / (1 - self.dropout)
        return fitted(context).logits(masked).argmax(dim=1)
