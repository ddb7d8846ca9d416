"""GALAXY: graph-based active learning at the extreme (Zhang et al., 2022, https://arxiv.org/abs/2202.01402)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import ROWS, QueryContext
from dal_toolbox.active_learning.strategies._pool import rows_of
from dal_toolbox.active_learning.strategies._predictions import fitted, logit_blocks
from dal_toolbox.active_learning.strategies.base import (
    PREDICTIONS,
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
    seen; this is logged. A pick sorts one word an item, O(N log N); memory is that of the logits, N·C·4
    bytes (5.1 GB for ImageNet).
    """

    needs = PREDICTIONS

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
        picks = []
        for _ in range(n):
            k = int(context.rng.choice(classes))
            line = order(k)
            at = np.flatnonzero(lines.known[line])
            pick = line[next_on_line(at, lines.classes[line[at]] == k, len(line))]
            lines.known[pick] = True
            picks.append(lines.items[pick])
        return np.array(picks, dtype=np.int64)


def next_on_line(at: np.ndarray, positive: np.ndarray, m: int) -> int:
    """Where to ask next: the position of an item that is not known; one of m at least is not.

    Args:
        at: Positions of the items that are known, ascending; two at least. Shape: (l,).
        positive: Whether they are of the class; some are and some are not. Shape: (l,).
        m: Length of the line.
    """
    cut = np.flatnonzero(positive[1:] != positive[:-1])  # between at[cut] and at[cut + 1]
    gap = at[cut + 1] - at[cut]
    if (gap > 1).any():
        best = np.where(gap > 1, gap, m).argmin()
        return int(at[cut[best]] + at[cut[best] + 1]) // 2
    free = np.setdiff1d(np.arange(m), at, assume_unique=True)
    right = np.searchsorted(free, at[cut])  # the first free position beyond each cut
    after = free[np.minimum(right, len(free) - 1)]
    before = free[np.maximum(right - 1, 0)]
    nearest = np.concatenate([before, after])
    distances = np.abs(2 * nearest - 2 * np.tile(at[cut], 2) - 1)  # from the middle of the cut
    return int(nearest[distances == distances.min()].min())


@dataclass(frozen=True, eq=False)
class Lines:
    """The labeled and the unlabeled items in order of confidence, and what puts them in others."""

    items: np.ndarray  # (m,) dataset indices, in descending order of confidence, then ascending
    classes: np.ndarray  # (m,) labels, and predictions where there is none
    known: np.ndarray  # (m,) whether an item was labeled, or chosen
    logits: Tensor  # (m, C) float32, labeled items first
    log_norm: Tensor  # (m,) float64, as all that follows in the order of the logits
    confidence: np.ndarray  # (m,) the largest probability, float32
    ranks: np.ndarray  # (m,) positions in ``items``, uint64

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
        order = np.lexsort((items, -confidence))
        ranks = np.empty(len(items), dtype=np.uint64)
        ranks[order] = np.arange(len(items))
        known = order < len(labeled)
        return cls(items[order], classes[order], known, logits, log_norm, confidence, ranks)

    def order(self, k: int) -> np.ndarray:
        """The line of class k as positions in ``items``. Shape: (m,).

        Floats that are not negative ascend as their bits do. So one word holds all that an item is
        sorted by, and words are sorted ten times as fast as by several keys.
        """
        p = (self.logits[:, k].double() - self.log_norm).exp().float().cpu().numpy()
        words = (self.confidence - p).clip(min=0).view(np.uint32).astype(np.uint64)
        words <<= np.uint64(32)
        words |= self.ranks
        words.sort()
        words &= np.uint64(2**32 - 1)
        return words.view(np.int64)
