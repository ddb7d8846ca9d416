"""CLUE: clustering uncertainty-weighted embeddings (Prabhu et al., 2021, https://arxiv.org/abs/2010.08666)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick
from dal_toolbox.active_learning.strategies._predictions import reduce_logits
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import positive
from dal_toolbox.progress import log

ENTRIES = 2**17  # of a block of logits
MAX_STARTS = 10  # of k-means, whose result depends on its start most in small pools …
CHEAP = 2**30  # … where they take at most so many multiplications for a step of all of them


@STRATEGIES.register("clue")
class CLUE(QueryStrategy):
    """The items nearest to the centroids of n clusters in which uncertain items weigh more.

    k-means of the unlabeled items, each weighted by the entropy of its prediction. Clusters with
    the largest total weight come first, ties go to the lowest index. Deviations: unit-norm
    features, and the nearest item is sought within a cluster, so that none is nearest twice. At
    cold start, and where all entropies are 0, all items weigh the same; this is logged.
    The best of ten starts of k-means counts, of fewer where N·n·d is above 2³⁰ / 10, of one above
    2³⁰ / 2. O(N·n·d) for each step of k-means; above 2¹⁸ items a random subset trains the centroids.

    Args:
        temperature: Divides the logits. Below 1 the weights stand out; the paper takes 0.1 where
            classes are many.
    """

    needs = FEATURES | PREDICTIONS
    starts_cold = True  # all items weigh the same

    def __init__(self, *, temperature: float = 1.0) -> None:
        positive(temperature=temperature)
        self.temperature = temperature

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        size = len(context.unlabeled) * n * context.features.shape[1]
        starts = min(max(1, CHEAP // max(1, size)), MAX_STARTS)
        return cluster_pick(
            context, context.unlabeled, n, weights=self._weights(context), redo=starts
        )

    def _weights(self, context: QueryContext) -> np.ndarray | None:
        if context.classifier is None:
            log.info("CLUE needs a classifier: all items weigh the same instead")
            return None
        weights = reduce_logits(context, self._entropy)
        if not weights.any():
            log.info("CLUE: all predictions are certain, all items weigh the same")
            return None
        return weights

    def _entropy(self, logits: Tensor) -> Tensor:
        """Log Σ exp(z) − Σ z exp(z) / Σ exp(z), in blocks that stay in the cache."""
        parts = []
        for block in logits.split(max(1, ENTRIES // logits.shape[1])):
            z = block.double() / self.temperature
            z -= z.amax(dim=1, keepdim=True)
            mass = z.exp()
            total = mass.sum(dim=1)
            parts.append(total.log() - torch.linalg.vecdot(mass, z) / total)
        return torch.cat(parts).clamp_(min=0).float().double()
