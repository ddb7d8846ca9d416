"""Core-set selection (Sener & Savarese, 2018, https://arxiv.org/abs/1708.00489)."""

import numpy as np
import torch

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._kcenter import kcenter_greedy
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)


@STRATEGIES.register("coreset")
class CoreSet(QueryStrategy):
    """Greedy k-center: again and again the item farthest from all labeled and chosen ones.

    Euclidean distance of the features as they are (Algorithm 1); ties go to the lowest index, and
    distances that agree in float32 are ties. At cold start the first item is the one nearest to the
    mean.

    Exact at every size, without a subsample: an item meets a center only while its distance from
    those it has met is not below that of the picks. At most O(N(L + n)d) with L labeled items, a
    fifth of that is usual; O(N) memory beside the features, which may be memory-mapped.
    """

    needs = FEATURES

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        device = context.features.device
        picks = kcenter_greedy(
            context.features,
            torch.from_numpy(context.labeled).to(device),
            torch.from_numpy(context.unlabeled).to(device),
            n,
            chunk_bytes=context.chunk_bytes,
        )
        return picks.cpu().numpy()
