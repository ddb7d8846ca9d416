"""MaxHerding (Bae et al., 2024, https://arxiv.org/abs/2407.12212)."""

import numpy as np
import torch

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cover_kernel import gaussian
from dal_toolbox.active_learning.strategies._cover_pool import cover_problem, cover_subsets
from dal_toolbox.active_learning.strategies._greedy import greedy_cover
from dal_toolbox.active_learning.strategies._pool import check_limit
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import positive


@STRATEGIES.register("maxherding")
class MaxHerding(QueryStrategy):
    """Covers the pool: mean over x of max over labeled s of exp(−‖x − s‖² / σ²), greedily.

    Unit-norm features; needs no classifier, works without labels. Exact up to ``max_targets`` and
    ``max_candidates`` unlabeled items; beyond, a random subset of the items is covered, or may
    be chosen, which is logged. Ties go to the lowest index.

    Time O(N² d) for one pass over all pairs (N at most the limits), without labels about three; then
    lazily. Memory: one copy of the rows, and 5 bytes for each candidate and each of 64 clusters.

    Args:
        sigma: Length scale of the kernel.
        max_targets: Items that coverage is measured on; none: all unlabeled ones.
        max_candidates: Items that may be chosen; none: all.
    """

    needs = FEATURES

    def __init__(
        self,
        *,
        sigma: float = 1.0,
        max_targets: int | None = 50_000,
        max_candidates: int | None = 50_000,
    ) -> None:
        positive(sigma=sigma)
        check_limit("max_targets", max_targets)
        check_limit("max_candidates", max_candidates)
        self.sigma = sigma
        self.max_targets = max_targets
        self.max_candidates = max_candidates

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        limits = self.max_targets, self.max_candidates
        unlabeled = context.pool.unlabeled
        targets, candidates = cover_subsets(context, unlabeled, limits, n, "maxherding")
        kernel, covered = cover_problem(context, targets, candidates, gaussian(self.sigma))
        weights = torch.ones_like(covered)
        return candidates[greedy_cover(kernel, weights, covered, n).picks.cpu().numpy()]
