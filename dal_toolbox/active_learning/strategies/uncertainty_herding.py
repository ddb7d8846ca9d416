"""Uncertainty Herding (Bae et al., 2025, https://arxiv.org/abs/2412.20644)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cover_kernel import CoverKernel, gaussian
from dal_toolbox.active_learning.strategies._cover_pool import (
    cover_problem,
    cover_subsets,
    search_bytes,
)
from dal_toolbox.active_learning.strategies._greedy import greedy_cover
from dal_toolbox.active_learning.strategies._pool import check_limit, unit_rows
from dal_toolbox.active_learning.strategies._temperature import temperature
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import at_least, positive
from dal_toolbox.neighbors import knn
from dal_toolbox.progress import log


@STRATEGIES.register("uncertainty_herding")
class UncertaintyHerding(QueryStrategy):
    """Covers uncertain items: Σ_x U(x) max over labeled s of exp(−‖x − s‖² / σ²), greedily.

    U is 1 − (p₁ − p₂) under a temperature that calibrates held-out labeled items (cross-validation in
    place of the paper's 20 % split), 1 at cold start. σ is the smallest distance between two
    labeled items that differ, 1 where there are none; so the method moves from covering the pool
    to margin sampling. Once no uncertain item is left uncovered, coverage alone decides. Ties go
    to the lowest index. Exact up to ``max_targets`` and ``max_candidates`` unlabeled items; beyond,
    random subsets, which is logged.

    Time O(N² d) for one pass over all pairs (N at most the limits), without labels about three; then
    lazily. Memory: one copy of the rows, and 5 bytes for each candidate and each of 64 clusters.

    Args:
        sigma: Length scale of the kernel on unit-norm features; none: the rule above.
        num_folds: Folds of the cross-validation.
        max_targets: Items that coverage is measured on; none: all unlabeled ones.
        max_candidates: Items that may be chosen; none: all.
    """

    needs = FEATURES | PREDICTIONS
    starts_cold = True  # covers all items alike

    def __init__(
        self,
        *,
        sigma: float | None = None,
        num_folds: int = 5,
        max_targets: int | None = 50_000,
        max_candidates: int | None = 50_000,
    ) -> None:
        if sigma is not None:
            positive(sigma=sigma)
        at_least(2, num_folds=num_folds)
        check_limit("max_targets", max_targets)
        check_limit("max_candidates", max_candidates)
        self.sigma = sigma
        self.num_folds = num_folds
        self.max_targets = max_targets
        self.max_candidates = max_candidates

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        limits = self.max_targets, self.max_candidates
        unlabeled = context.pool.unlabeled
        targets, candidates = cover_subsets(context, unlabeled, limits, n, "uncertainty_herding")
        sigma = closest_pair(context) if self.sigma is None else self.sigma
        kernel, covered = cover_problem(context, targets, candidates, gaussian(sigma))
        weights = self._uncertainty(context, targets).to(covered)
        found = greedy_cover(kernel, weights, covered, n)
        picks = found.picks[found.gains.to(found.picks.device) > 0]
        if len(picks) < n:
            picks = _cover_the_rest(kernel, covered, picks, n)
        return candidates[picks.cpu().numpy()]

    def _uncertainty(self, context: QueryContext, targets: np.ndarray) -> Tensor:
        """1 − margin under the best temperature; 1 without a classifier. Shape: (T,)."""
        if context.classifier is None:
            return torch.ones(len(targets), dtype=torch.float64)
        t = temperature(context, self.num_folds)
        same = np.array_equal(targets, context.unlabeled)
        logits = context.logits if same else context.restrict(targets).logits
        return torch.cat([_uncertainty(block, t) for block in logits.split(8192)])


def closest_pair(context: QueryContext) -> float:
    """The smallest positive distance between labeled items on the unit sphere; 1 if there is none."""
    x = unit_rows(context, context.labeled)
    distinct = x.unique(dim=0)
    if len(distinct) < 2:
        return 1.0
    found = knn(distinct, distinct, 1, exclude_self=True, chunk_bytes=search_bytes(context))
    return float(found.distances.min()) or 1.0


def _uncertainty(logits: Tensor, t: float) -> Tensor:
    top = (logits.double() / t).softmax(dim=1).topk(min(2, logits.shape[1]), dim=1).values
    return 1 - (top[:, 0] - top[:, 1]) if top.shape[1] == 2 else torch.zeros_like(top[:, 0])


def _cover_the_rest(kernel: CoverKernel, covered: Tensor, picks: Tensor, n: int) -> Tensor:
    """More picks after the given ones, for equal weights. Shape: (n,)."""
    log.info(
        "uncertainty_herding: nothing uncertain is uncovered after %d of %d items; the others are "
        "chosen for coverage alone",
        len(picks),
        n,
    )
    left = torch.ones(len(kernel.candidates), dtype=torch.bool, device=picks.device)
    left[picks] = False
    rest = left.nonzero().squeeze(1)
    chosen = kernel.covered(kernel.candidates[picks])
    kernel = kernel.restrict(rest)
    covered = torch.maximum(covered, chosen)
    found = greedy_cover(kernel, torch.ones_like(covered), covered, n - len(picks))
    return torch.cat([picks, rest[found.picks]])
