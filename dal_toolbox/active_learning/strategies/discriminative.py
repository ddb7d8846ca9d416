"""Discriminative active learning (Gissin & Shalev-Shwartz, 2019, https://arxiv.org/abs/1907.06347)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._pool import check_count, rows_of
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import at_least, positive
from dal_toolbox.classifiers._lbfgs import minimize
from dal_toolbox.neighbors import plain_float32
from dal_toolbox.progress import log

BLOCK = 2**16  # rows that are scored at a time
MAX_ROWS = 2**16  # of each side; of more, a random subset is learned from


@STRATEGIES.register("discriminative")
class Discriminative(QueryStrategy):
    """The items that a classifier tells most surely from the labeled ones.

    In ``num_batches`` steps, a logistic regression learns to tell unlabeled from labeled items, and
    the most unlabeled-like items are taken and count as labeled from then on. The two sides weigh
    the same; of the unlabeled items a random subset is learned from, ``unlabeled_factor`` times as
    many as are labeled. Ties go to the lowest index. Needs no classifier; at cold start the first
    of the steps is random, which is logged.

    Deviations: the paper trains a network of three layers on features of the classifier; here the
    regression is linear, on unit-norm features. O(N·d) a step, and the fit, O(m·d²) with m ≤ 2¹⁷ rows.

    Args:
        num_batches: Steps of a query.
        unlabeled_factor: Unlabeled items to learn from for each labeled one.
        l2: Precision of the prior of the weights.
    """

    needs = FEATURES
    starts_cold = False  # its first picks are random

    def __init__(
        self, *, num_batches: int = 10, unlabeled_factor: int = 10, l2: float = 0.01
    ) -> None:
        check_count(num_batches=num_batches)
        at_least(1, unlabeled_factor=unlabeled_factor)
        positive(l2=l2)
        self.num_batches = num_batches
        self.unlabeled_factor = unlabeled_factor
        self.l2 = l2

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        picks = np.empty(0, np.int64)
        for step in np.array_split(np.arange(n), self.num_batches):
            if len(step):
                picks = np.concatenate([picks, self._step(context, picks, len(step))])
        return picks

    def _step(self, context: QueryContext, picks: np.ndarray, n: int) -> np.ndarray:
        known = np.concatenate([context.labeled, picks])
        others = np.setdiff1d(context.unlabeled, picks, assume_unique=True)  # ascending
        if len(known) == 0:
            log.info("Discriminative has no labeled items: the first %d are drawn at random", n)
            return context.rng.permutation(others)[:n]
        return others[_largest(context, others, self._fit(context, known, others)[:-1], n)]

    def _fit(self, context: QueryContext, known: np.ndarray, others: np.ndarray) -> Tensor:
        """Weights of the logistic regression, bias last. Shape: (d + 1,)."""
        number = min(self.unlabeled_factor * len(known), len(others), MAX_ROWS)
        others = context.rng.choice(others, number, replace=False)
        if len(known) > MAX_ROWS:
            log.info("Discriminative learns from %d of %d labeled items", MAX_ROWS, len(known))
            known = context.rng.choice(known, MAX_ROWS, replace=False)
        x = context.normalized[rows_of(context, np.concatenate([known, others]))].double()
        y = torch.ones(len(x), dtype=x.dtype, device=x.device)
        y[: len(known)] = -1
        balance = torch.full_like(y, len(x) / 2 / len(others))
        balance[: len(known)] = len(x) / 2 / len(known)
        return logistic_regression(F.pad(x, (0, 1), value=1.0), y, balance, self.l2)


def _largest(context: QueryContext, items: np.ndarray, weight: Tensor, n: int) -> np.ndarray:
    """Positions of the n items with the largest x·w, the first of equals first.

    Products in float32 are wrong by less than (d + 32) u ‖w‖ (Higham, 2002, section 3.1), with u half
    the machine epsilon; those that may be among the n largest are repeated in float64.
    """
    with plain_float32():
        blocks = context.normalized.split(BLOCK)
        rough = torch.cat([block @ weight.float() for block in blocks])[rows_of(context, items)]
    error = (len(weight) + 32) * 2.0**-24 * float(weight.norm())
    limit = rough.topk(n).values[-1].double() - 2 * error
    some = (rough.double() >= limit).nonzero().squeeze(1).cpu().numpy()
    parts = np.array_split(some, -(-len(some) // BLOCK))
    rows = (context.normalized[rows_of(context, items[part])] for part in parts)
    scores = torch.cat([(block.double() @ weight).float() for block in rows])
    return some[np.argsort(-scores.cpu().numpy(), kind="stable")[:n]]


def logistic_regression(x: Tensor, y: Tensor, importance: Tensor, l2: float) -> Tensor:
    """Minimizes Σᵢ aᵢ log(1 + exp(−yᵢ w·xᵢ)) + l2/2 ‖w‖².

    In coordinates where the bound Xᵀ diag(a) X / 4 + l2 on the Hessian is the identity.

    Args:
        x: Float64. Shape: (n, d).
        y: −1 or 1. Shape: (n,).
        importance: The aᵢ > 0. Shape: (n,).
        l2: Positive.

    Returns:
        w. Shape: (d,).
    """
    basis = None
    if x.shape[0] < x.shape[1]:  # w lies in the span of the rows
        basis, r = torch.linalg.qr(x.T)  # (d, n), (n, n)
        x = r.T
    eigenvalues, vectors = torch.linalg.eigh(x.T @ (importance[:, None] * x))
    scale = (eigenvalues.clamp(min=0) / 4 + l2).rsqrt()
    z = (x @ vectors) * scale
    prior = l2 * scale.square()

    def objective(b: Tensor) -> tuple[Tensor, Tensor]:
        margin = y * (z @ b)
        value = (importance * F.softplus(-margin)).sum() + (prior * b.square()).sum() / 2
        return value, z.T @ (-importance * y * torch.sigmoid(-margin)) + prior * b

    w = vectors @ (scale * minimize(objective, z.new_zeros(z.shape[1]), tolerance=1e-6))
    return w if basis is None else basis @ w
