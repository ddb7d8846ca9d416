"""GALAXY: graph-based active learning at the extreme (Zhang et al., 2022, https://arxiv.org/abs/2202.01402)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import ROWS, QueryContext
from dal_toolbox.active_learning.strategies._blocks import fitted, logit_blocks, rows_of
from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.progress import log


@STRATEGIES.register("galaxy")
class GALAXY(QueryStrategy):
    """Bisects, class by class, the order of the pool between items of that class and others.

    For a class k all items stand in a line, in descending order of p_k − max p, among equals in
    descending order of max p, then of the lowest index. Of all stretches of unlabeled items between
    a labeled item of class k and one of another class the shortest is halved: its middle item is
    taken. Where none is left, it is the unlabeled item nearest to a place where the two kinds meet.
    Every pick is for a class drawn by the rng from those that were seen. Good for rare classes.

    Deviations: the paper learns the label of a pick before the next; within a batch the predicted
    class stands in for it. Classes that were not seen are not drawn (the paper: a random item);
    with two classes one line is used, as in the paper. Random where fewer than two classes were
    seen; the log says so. A pick sorts the pool, O(N log N); memory is that of the logits, N·C·4
    bytes (5.1 GB for ImageNet).
    """

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return random_query(context, n, instead_of="GALAXY")
        classes = np.unique(context.labels.cpu().numpy())
        if len(classes) < 2:
            log.info("GALAXY needs labels of two classes: %d items are drawn at random", n)
            return random_query(context, n)
        if context.num_classes == 2:
            classes = classes[:1]
        lines = Lines.of(context)
        order = lru_cache(max(1, context.chunk_bytes // (8 * len(lines.items))))(lines.order)
        known = np.zeros(len(lines.items), dtype=bool)
        known[: len(context.labeled)] = True
        picks = []
        for _ in range(n):
            k = int(context.rng.choice(classes))
            line = order(k)
            position = next_on_line(known[line], lines.classes[line] == k)
            known[line[position]] = True
            picks.append(lines.items[line[position]])
        return np.array(picks, dtype=np.int64)


def next_on_line(known: np.ndarray, positive: np.ndarray) -> int:
    """Where to ask next: the position of an item that is not known; one at least is not.

    Args:
        known: Whether an item has a label; some of the class and some of others have. Shape: (m,).
        positive: Whether it is of the class; counts where it is known. Shape: (m,).
    """
    at = np.flatnonzero(known)
    cut = np.flatnonzero(positive[at[1:]] != positive[at[:-1]])  # between at[cut] and at[cut + 1]
    gap = at[cut + 1] - at[cut]
    if (gap > 1).any():
        best = np.where(gap > 1, gap, len(known)).argmin()
        return int(at[cut[best]] + at[cut[best] + 1]) // 2
    free = np.flatnonzero(~known)
    right = np.searchsorted(free, at[cut])  # the first free position beyond each cut
    after = free[np.minimum(right, len(free) - 1)]
    before = free[np.maximum(right - 1, 0)]
    nearest = np.concatenate([before, after])
    distances = np.abs(2 * nearest - 2 * np.tile(at[cut], 2) - 1)  # from the middle of the cut
    return int(nearest[distances == distances.min()].min())


@dataclass(frozen=True, eq=False)
class Lines:
    """The labeled items, then the unlabeled ones, with what puts them in order."""

    items: np.ndarray  # (m,) dataset indices
    classes: np.ndarray  # (m,) labels, and predictions where there is none
    logits: Tensor  # (m, C) float32
    log_norm: Tensor  # (m,) float64
    confidence: np.ndarray  # (m,) the largest probability

    @classmethod
    def of(cls, context: QueryContext) -> "Lines":
        """Lines over all that is labeled or may be chosen."""
        labeled = fitted(context).logits(context.features[rows_of(context, context.labeled)])
        items = np.concatenate([context.labeled, context.unlabeled])
        logits = labeled.new_empty(len(items), labeled.shape[1])  # filled: a cat would be a copy
        logits[: len(labeled)] = labeled
        first = len(labeled)
        for _, block in logit_blocks(context):
            logits[first : first + len(block)] = block
            first += len(block)
        blocks = logits.split(ROWS)
        log_norm = torch.cat([block.double().logsumexp(dim=1) for block in blocks])
        classes = torch.cat([block.argmax(dim=1) for block in blocks]).cpu().numpy()
        classes[: len(labeled)] = context.labels.cpu().numpy()
        confidence = (logits.amax(dim=1).double() - log_norm).exp().float().cpu().numpy()
        return cls(items, classes, logits, log_norm, confidence)

    def order(self, k: int) -> np.ndarray:
        """Positions in the line of class k. Shape: (m,)."""
        p = (self.logits[:, k].double() - self.log_norm).exp().float().cpu().numpy()
        return np.lexsort((self.items, -self.confidence, self.confidence - p))
