"""Any strategy on a random part of the pool."""

from typing import Any

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._bases import build_base, query_part
from dal_toolbox.active_learning.strategies._pool import share
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.arguments import at_least
from dal_toolbox.progress import log


@STRATEGIES.register("subsample")
class Subsample(QueryStrategy):
    """Lets another strategy choose from a random subset of the unlabeled items.

    It sees the labeled items and the subset alone, as if that were the pool. The subset has ``size``
    items, or ``fraction`` of those that there are, and never fewer than are asked for. It makes
    costly strategies cheap, and brings diversity to those that have none.
    Works at cold start where the base does. O(N) on top of the base.

    Args:
        base: Name of the strategy that chooses.
        size: Number of items of the subset; 0: ``fraction`` decides.
        fraction: Share of the unlabeled items, in (0, 1].
        base_options: Hyperparameters of the base.

    Raises:
        ValueError: ``size`` or ``fraction`` is out of range.
    """

    def __init__(
        self,
        *,
        base: str = "margin",
        size: int = 0,
        fraction: float = 0.1,
        base_options: dict[str, Any] | None = None,
    ) -> None:
        at_least(0, size=size)
        share(fraction=fraction)
        self.base = base
        self.size = size
        self.fraction = fraction
        self.base_options = base_options
        self._base = build_base(base, base_options, "subsample")
        self.needs = self._base.needs

    @property
    def starts_cold(self) -> bool:
        return self._base.starts_cold

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        total = len(context.unlabeled)
        size = min(total, max(n, self.size or round(self.fraction * total)))
        log.info("subsample: %d of %d unlabeled items", size, total)
        if size == total:
            return self._base.query(context, n)
        subset = context.rng.permutation(context.unlabeled)[:size]
        return query_part(self._base, context, subset, n)
