"""LDM-S: least disagree metric with seeding (Cho et al., 2024, https://arxiv.org/abs/2401.09787)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._d2_sampling import d2_sample
from dal_toolbox.active_learning.strategies._flips import Items
from dal_toolbox.active_learning.strategies._pool import check_count, restricted, unit_rows
from dal_toolbox.active_learning.strategies._products import Products
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.arguments import at_least

SIGMAS = 10.0 ** np.linspace(-5, 0, 51)  # of the perturbations, as in the paper
REACH = 20.0  # σ: changes of two logits differ by N(0, (2σ)²)


@STRATEGIES.register("ldm")
class LDM(QueryStrategy):
    """Draws items whose prediction flips at a small change of the classifier, and that differ.

    Weights are perturbed by σ · noise for 51 values of σ from 1e-5 to 1. A perturbation disagrees with the
    classifier on a share ρ of the items; the LDM of an item is the least ρ among the perturbations that
    change its prediction, 1 if none does. Let L be the LDM at rank n (0: the least one that is
    positive). Then γ = exp(−max(LDM − L, 0) / L), for items from rank n on times n / Σγ and at most 1. The
    item of least LDM comes first (the lowest index among equals); others are drawn with probability
    ∝ (γ D)² with the cosine distance D to the nearest pick, uniformly where all are 0.

    The perturbation adds σ Ξᵀ[x; 1] to the logits with unit-norm features x: it perturbs weights and
    bias of a linear classifier on unit-norm features; others are treated alike. Random at cold start.
    Differs from the paper in two bounds: ``max_draws``, and ``max_items``, with a line in the log.
    At worst O(max_items · d · C) for each of 510 to 5100 perturbations, of which items are spared
    that cannot flip or whose LDM cannot fall (ρ no less), and classes whose logit is more than 20 σ
    below that of the predicted one: ten standard deviations of their noise. So all predictions are
    those of the perturbed classifiers but for a chance of 1e-11 a query. The memory is that of
    ``max_items`` features and logits.

    Args:
        patience: Perturbations that are drawn at once; the next σ follows when they lower the LDM of
            no item.
        max_draws: Perturbations of one σ at most.
        num_reference: Items that ρ is measured on, drawn at random if there are more.
        max_items: Candidates, drawn at random if there are more.
    """

    needs = FEATURES | PREDICTIONS

    def __init__(
        self,
        *,
        patience: int = 10,
        max_draws: int = 100,
        num_reference: int = 5_000,
        max_items: int = 25_000,
    ) -> None:
        check_count(patience=patience, max_draws=max_draws)
        at_least(1, num_reference=num_reference, max_items=max_items)
        self.patience = patience
        self.max_draws = max_draws
        self.num_reference = num_reference
        self.max_items = max_items

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return random_query(context, n, instead_of=type(self).__name__)
        if n == 0:
            return np.empty(0, np.int64)
        context = restricted(context, self.max_items, n, "ldm")
        unlabeled = context.unlabeled
        x = unit_rows(context, unlabeled)
        ldm = self.least_disagreement(x, context.logits, context.rng)
        ones = torch.ones(len(x), dtype=torch.float64, device=x.device)
        everything = torch.arange(len(x), device=x.device)
        # Of unit vectors, D = ‖a − b‖² / 2.
        points = Products(ones[:, None].float(), ones, x, everything, context.chunk_bytes)
        picks = d2_sample(
            points, int(ldm.argmin()), n, context.rng, factors=seeding(ldm, n) ** 2, power=2.0
        )
        return unlabeled[picks]

    def least_disagreement(self, x: Tensor, logits: Tensor, rng: np.random.Generator) -> np.ndarray:
        """The LDM of every item from unit-norm features (n, d) and logits (n, C). Shape: (n,)."""
        in_reference = np.zeros(len(x), dtype=bool)
        in_reference[rng.permutation(len(x))[: self.num_reference]] = True
        items = Items.of(x, logits)
        shape = (logits.shape[1], self.patience, x.shape[1] + 1)
        ldm = np.ones(len(x))
        for sigma in SIGMAS.tolist():
            near = items.near(REACH * sigma).cpu().numpy()
            known = np.flatnonzero(near & in_reference)
            for _ in range(-(-self.max_draws // self.patience)):
                noise = torch.from_numpy(rng.standard_normal(shape, np.float32)).to(x.device)
                noise *= sigma
                flips = _flips(items, noise, known, REACH * sigma)
                rho = flips.sum(axis=0) / in_reference.sum()  # (patience,)
                others = np.flatnonzero(near & ~in_reference & (ldm > rho.min()))
                flips = np.concatenate([flips, _flips(items, noise, others, REACH * sigma)])
                rows = np.concatenate([known, others])
                least = np.where(flips, rho, 1.0).min(axis=1)
                if not (least < ldm[rows]).any():
                    break
                ldm[rows] = np.minimum(ldm[rows], least)
        return ldm


def _flips(items: Items, noise: Tensor, rows: np.ndarray, reach: float) -> np.ndarray:
    return items.flips(noise, torch.from_numpy(rows).to(noise.device), reach).cpu().numpy()


def seeding(ldm: np.ndarray, n: int) -> np.ndarray:
    """γ of every item, in (0, 1]. Shapes: (N,) -> (N,)."""
    order = np.argsort(ldm, kind="stable")
    least = ldm[order[min(n, len(ldm) - 1)]]
    if least == 0:
        least = ldm[ldm > 0].min(initial=np.inf)
    gamma = np.exp(-np.maximum(ldm - least, 0) / least) if least < np.inf else np.ones(len(ldm))
    others = order[n:]
    total = gamma[others].sum()
    if total > 0:
        gamma[others] = np.minimum(gamma[others] * n / total, 1)
    return gamma
