"""BADGE (Ash et al., 2020, https://arxiv.org/abs/1906.03671)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies._d2_sampling import Products, d2_sample
from dal_toolbox.active_learning.strategies._predictions import blocks, kept_dtype
from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)

EQUAL = 1e-9  # relative difference of gradient norms that is rounding error


@STRATEGIES.register("badge")
class Badge(QueryStrategy):
    """Draws uncertain and diverse items: D² sampling of the gradients of the last layer.

    The gradient of the loss of the predicted class ŷ is g = (p − onehot(ŷ)) ⊗ h for features h as
    they are. The first pick is the longest gradient (the lowest index among equals), then items
    are drawn with probability proportional to D², the squared distance to the nearest pick;
    uniformly where all D² are 0. Random at cold start. Gradients are never formed: O(N (C + d) B)
    time at most, O(N C) memory. Predictions of more than 2 GiB in float32 are kept in float16.
    """

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, np.int64)
        try:
            q, scales = gradient_factors(context)
        except NoClassifier:
            return random_query(context, n, instead_of=type(self).__name__)
        rows = torch.from_numpy(context.unlabeled).to(q.device)
        points = Products(q, scales, context.features, rows, context.chunk_bytes)
        first = int((points.norms >= points.norms.max() * (1 - EQUAL)).nonzero()[0])
        return context.unlabeled[d2_sample(points, first, n, context.rng)]


def gradient_factors(context: QueryContext) -> tuple[Tensor, Tensor]:
    """Directions ``(n, C)`` and lengths ``(n,)`` of onehot(ŷ) − p."""
    shape = len(context.unlabeled), context.num_classes
    dtype = kept_dtype(*shape)
    device = context.features.device
    q = torch.empty(shape, dtype=dtype, device=device)
    lengths = torch.empty(shape[0], dtype=torch.float64, device=device)
    for part, block in blocks(context):
        gradient = -block.probabilities
        predicted = gradient.argmin(dim=1, keepdim=True)
        gradient.scatter_(1, predicted, 0.0)
        # 1 − p of the predicted class as the sum of the others: no digit is lost
        gradient.scatter_(1, predicted, -gradient.sum(dim=1, keepdim=True))
        lengths[part] = gradient.norm(dim=1)
        q[part] = F.normalize(gradient, dim=1, eps=1e-150).to(dtype)
    return q, lengths
