"""Facility location, with a filter: FASS (Wei et al., 2015, https://proceedings.mlr.press/v37/wei15)."""

import numpy as np
import torch

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies._cover_kernel import cosine
from dal_toolbox.active_learning.strategies._cover_pool import cover_problem, cover_subsets
from dal_toolbox.active_learning.strategies._greedy import greedy_cover
from dal_toolbox.active_learning.strategies._pool import check_limit
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.active_learning.strategies.uncertainty import EntropySampling
from dal_toolbox.progress import log


@STRATEGIES.register("facility_location")
class FacilityLocation(QueryStrategy):
    """Items such that every item is similar to a labeled one: Σ_x max_s (1 + cos(x, s)) / 2, greedily.

    With ``filter_factor`` f it is FASS: only the f · n items with the largest entropy may be chosen,
    and only they are to be covered. Unlike the paper, labeled items cover too, so that a batch
    does not repeat what is known. Without labels nothing is filtered, which is logged. Ties go
    to the lowest index. Cosine is that of unit-norm features, as 1 − ‖a − b‖² / 2; a row of zeros
    counts as at distance 1.

    Time O(N² d) for one pass over all pairs (N at most the limits), without labels about three; then
    lazily. Memory: one copy of the rows, and 5 bytes for each candidate and each of 64 clusters.

    Args:
        filter_factor: Items that pass the filter, in multiples of the batch; none: all.
        max_targets: Items that coverage is measured on; beyond, so many at random; none: all.
        max_candidates: Items that may be chosen; beyond, so many at random; none: all.
    """

    needs = FEATURES
    starts_cold = True  # nothing is filtered

    def __init__(
        self,
        *,
        filter_factor: int | None = None,
        max_targets: int | None = 50_000,
        max_candidates: int | None = 50_000,
    ) -> None:
        check_limit("filter_factor", filter_factor)
        check_limit("max_targets", max_targets)
        check_limit("max_candidates", max_candidates)
        if filter_factor is not None:
            self.needs = FEATURES | PREDICTIONS
        self.filter_factor = filter_factor
        self.max_targets = max_targets
        self.max_candidates = max_candidates

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        targets, filtered = context.pool.unlabeled, self._filter(context, n)
        if filtered is not None:
            context, targets = context.restrict(filtered), np.sort(filtered)
        limits = self.max_targets, self.max_candidates
        targets, candidates = cover_subsets(context, targets, limits, n, "facility_location")
        kernel, covered = cover_problem(context, targets, candidates, cosine())
        weights = torch.ones_like(covered)
        return candidates[greedy_cover(kernel, weights, covered, n).picks.cpu().numpy()]

    def _filter(self, context: QueryContext, n: int) -> np.ndarray | None:
        """The most uncertain candidates; the lowest index among equals."""
        if self.filter_factor is None:
            return None
        try:
            entropy = EntropySampling().score(context)
        except NoClassifier:
            log.info("facility_location: no classifier yet, so no item is filtered out")
            return None
        order = entropy.argsort(descending=True, stable=True)[: self.filter_factor * n]
        return context.unlabeled[order.cpu().numpy()]
