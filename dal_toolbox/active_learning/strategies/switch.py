"""One strategy while labels are few, another one afterwards."""

from typing import Any, Literal

import numpy as np
import torch

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._bases import build_base, needs_of
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import non_negative, one_of
from dal_toolbox.neighbors import knn
from dal_toolbox.progress import log

SAMPLE = 10_000  # items on which coverage is measured


@STRATEGIES.register("switch")
class Switch(QueryStrategy):
    """Starts with a strategy for few labels and goes over to one for many.

    TypiClust, then Margin is TCM (Doucet et al., 2024, https://arxiv.org/abs/2403.03728); coverage as
    the criterion follows the phase transition of Hacohen et al. (2022, https://arxiv.org/abs/2202.02794).
    Works at cold start where ``first`` does. With ``by="coverage"``: O(min(N, 10,000) · L · d).

    Args:
        first: Name of the strategy for few labels.
        then: Name of the strategy for many.
        by: What is compared with ``threshold``: ``cycle`` (the number of the query), ``labels`` (the
            number of labels), ``labels_per_class``, or ``coverage``: the share of items (of up to
            10,000 drawn ones) that have a labeled item within ``radius``, in unit-norm features.
        threshold: ``then`` chooses as soon as the value has reached it.
        radius: Euclidean distance of unit-norm features.
        first_options: Hyperparameters of ``first``.
        then_options: Hyperparameters of ``then``.
    """

    def __init__(
        self,
        *,
        first: str = "typiclust",
        then: str = "margin",
        by: Literal["cycle", "labels", "labels_per_class", "coverage"] = "labels_per_class",
        threshold: float = 10.0,
        radius: float = 0.5,
        first_options: dict[str, Any] | None = None,
        then_options: dict[str, Any] | None = None,
    ) -> None:
        one_of(("cycle", "labels", "labels_per_class", "coverage"), by=by)
        non_negative(threshold=threshold, radius=radius)
        self.first = first
        self.then = then
        self.by = by
        self.threshold = threshold
        self.radius = radius
        self.first_options = first_options
        self.then_options = then_options
        self._first = build_base(
            first, first_options, "switch", key="first", options_key="first_options"
        )
        self._then = build_base(
            then, then_options, "switch", key="then", options_key="then_options"
        )
        self.needs = needs_of([self._first, self._then])
        if by == "coverage":
            self.needs |= FEATURES

    @property
    def starts_cold(self) -> bool:
        return (self._then if self.threshold <= 0 else self._first).starts_cold

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        value = self.value(context)
        late = value >= self.threshold
        log.info("switch: %s = %.3g, %s chooses", self.by, value, self.then if late else self.first)
        return (self._then if late else self._first).query(context, n)

    def value(self, context: QueryContext) -> float:
        """What is compared with the threshold."""
        if self.by == "cycle":
            return float(context.cycle)
        if self.by == "labels":
            return float(context.pool.num_labeled)
        if self.by == "labels_per_class":
            return context.pool.num_labeled / context.num_classes
        return coverage(context, self.radius)


def coverage(context: QueryContext, radius: float) -> float:
    """Share of the pool within ``radius`` of a labeled item, in unit-norm features.

    Of pools of more than 10,000 items, as many are drawn.
    """
    if not len(context.labeled):
        return 0.0
    size = len(context.normalized)
    rows = np.arange(size)
    if size > SAMPLE:
        rows = np.sort(context.rng.choice(size, SAMPLE, replace=False))
    x, device = context.normalized, context.normalized.device
    queries, keys = (x[torch.from_numpy(part).to(device)] for part in (rows, context.labeled))
    nearest = knn(queries, keys, 1, chunk_bytes=context.chunk_bytes).distances
    return float((nearest <= radius).double().mean())
