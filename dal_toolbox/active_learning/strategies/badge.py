"""BADGE (Ash et al., 2020, https://arxiv.org/abs/1906.03671)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import ROWS, NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies._d2_sampling import d2_sample
from dal_toolbox.active_learning.strategies._pool import rows_of
from dal_toolbox.active_learning.strategies._predictions import (
    kept_dtype,
    logit_blocks,
    logits_from,
)
from dal_toolbox.active_learning.strategies._products import Products
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)

CLOSE = 1e-5  # relative difference of gradient norms that float32 cannot be sure of
EQUAL = 1e-9  # … that is rounding error of float64
CACHED = 2**18  # numbers of a part of a block: its temporaries stay in the cache


@STRATEGIES.register("badge")
class Badge(QueryStrategy):
    """Draws uncertain and diverse items: D² sampling of the gradients of the last layer.

    The gradient of the loss of the predicted class ŷ is g = (p − onehot(ŷ)) ⊗ h for features h as
    they are. The first pick is the longest gradient (the lowest index among equals), then items
    are drawn with probability proportional to D², the squared distance to the nearest pick;
    uniformly where all D² are 0. Random at cold start. Gradients are never formed: the logits and
    O(N C) take nearly all the time, O((C + d) B) a proposal, O(N (C + d) B) for all picks at worst;
    O(N C) memory. Predictions of more than 2 GiB in float32 are kept in float16.
    """

    needs = FEATURES | PREDICTIONS

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, np.int64)
        try:
            q, scales = gradient_factors(context)
        except NoClassifier:
            return random_query(context, n, instead_of=type(self).__name__)
        rows = rows_of(context, context.unlabeled)
        points = Products(q, scales, context.features, rows, context.chunk_bytes)
        first = longest(context, points.norms)
        return context.unlabeled[d2_sample(points, first, n, context.rng)]


def gradient_factors(context: QueryContext) -> tuple[Tensor, Tensor]:
    """Directions ``(n, C)`` and lengths ``(n,)`` of onehot(ŷ) − p, but for rounding of float32."""
    n = len(context.unlabeled)
    dtype = kept_dtype(n, context.num_classes)
    q = context.features.new_empty((n, context.num_classes), dtype=dtype)
    lengths = context.features.new_empty(n, dtype=torch.float64)
    size = max(1, CACHED // context.num_classes)
    for first, (_, block) in zip(range(0, n, ROWS), logit_blocks(context), strict=True):
        for start in range(0, len(block), size):
            some = block[start : start + size]
            part = slice(first + start, first + start + len(some))
            q[part], lengths[part] = gradients(some)
    return q, lengths


def gradients(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Directions ``(b, C)`` and float64 lengths ``(b,)`` of onehot(ŷ) − p.

    With odds exp(zᵢ − zₛ) of the other classes against their first, s, the direction is
    onehot(ŷ) Σ odds − odds, of which no digit is lost, however certain the prediction.
    """
    predicted = logits.argmax(dim=1, keepdim=True)
    q = logits.scatter(1, predicted, -torch.inf)
    second = q.amax(dim=1, keepdim=True).clamp(min=torch.finfo(q.dtype).min)  # one class: no other
    q.sub_(second).exp_()
    total = q.sum(dim=1, keepdim=True)
    norm = torch.hypot(total, q.norm(dim=1, keepdim=True)).clamp(min=1)  # √2 at least; one class: 0
    ratio = (second.double() - logits.gather(1, predicted).double()).exp()  # p of s over p of ŷ
    lengths = norm.double() * ratio / (1 + total.double() * ratio)
    q.mul_(-1 / norm).scatter_(1, predicted, total / norm)
    return q, lengths.squeeze(1)


def longest(context: QueryContext, norms: Tensor) -> int:
    """The position of the longest gradient; ``norms`` (n,) are those of float32."""
    close = (norms >= norms.max() * (1 - CLOSE)).nonzero().squeeze(1)
    if len(close) == 1:
        return int(close)
    blocks = close // ROWS * ROWS
    exact = torch.full_like(norms, -1)
    for first in blocks.unique().tolist():
        some = close[blocks == first]
        _, lengths = gradients(logits_from(context, first)[some - first].double())
        h = context.features[rows_of(context, context.unlabeled)[some]].double()
        exact[some] = lengths * h.norm(dim=1)
    return int((exact >= exact.max() * (1 - EQUAL)).nonzero()[0])
