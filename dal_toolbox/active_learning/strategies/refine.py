"""REFINE (Huseljic et al., 2025, https://arxiv.org/abs/2511.22344)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._bases import (
    build_base,
    build_bases,
    check_options,
    needs_of,
    query_part,
)
from dal_toolbox.active_learning.strategies._pool import check_count
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.arguments import at_least, between, positive
from dal_toolbox.progress import log

PUBLISHED = (
    "random", "margin", "badge", "bait", "typiclust", "alfamix", "dropquery", "maxherding",
    "uncertainty_herding",
)  # fmt: skip


@STRATEGIES.register("refine")
class Refine(QueryStrategy):
    """Progressive filtering: an ensemble of strategies narrows the pool, one of them chooses from it.

    In every level each strategy picks several batches of n items, each out of a random subset of the
    present candidates; the union of all batches makes the candidates of the next level. After the last
    level ``final`` chooses. As the authors have it: 5 levels, about 100 batches a level, subsets of
    5,000 items in the first level and of 40 % of the candidates later, at most 10,000 candidates.

    The authors' ``bait`` and ``uncertainty_herding`` are left out by default, as
    they take longest; this is logged. Name them in ``strategies`` for the published ensemble.

    Every strategy sees the labeled items and its subset alone, as if that were the pool.
    A level that would leave fewer than n items is the last one. Works at cold start where the members
    and ``final`` do. The cost is that of ``num_levels`` · ``num_batches`` queries on the subsets.

    Args:
        strategies: Names of the strategies that narrow the pool.
        final: Name of the strategy that chooses.
        num_levels: Number of levels.
        num_batches: Batches of a level, shared equally by the strategies.
        first_subset: Items of a subset in the first level.
        alpha: Share of the candidates in a subset, in later levels.
        max_candidates: Candidates that a level leaves at most, drawn at random.
        options: Hyperparameters of members and of ``final``, by name.
    """

    def __init__(
        self,
        *,
        strategies: tuple[str, ...] = (
            "random", "margin", "badge", "typiclust", "alfamix", "dropquery", "maxherding",
        ),
        final: str = "uncertainty_herding",
        num_levels: int = 5,
        num_batches: int = 100,
        first_subset: int = 5000,
        alpha: float = 0.4,
        max_candidates: int = 10_000,
        options: dict[str, dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        at_least(
            1,
            num_levels=num_levels,
            num_batches=num_batches,
            first_subset=first_subset,
            max_candidates=max_candidates,
        )
        positive(alpha=alpha)
        between(0, 1, alpha=alpha)
        _check_types(strategies, final, options)
        self.strategies = strategies
        self.final = final
        self.options = options
        of_members = dict(check_options(options, "options") or {})
        own = of_members.pop(final, None) if isinstance(final, str) else None
        self._final = build_base(final, own, "refine", key="final", options_key="options")
        self._members = build_bases(strategies, of_members, "refine")
        self.needs = needs_of([*self._members.values(), self._final])
        check_count(num_levels=num_levels, num_batches=num_batches)
        self.num_levels = num_levels
        self.num_batches = num_batches
        self.first_subset = first_subset
        self.alpha = alpha
        self.max_candidates = max_candidates

    @property
    def starts_cold(self) -> bool:
        return all(member.starts_cold for member in [*self._members.values(), self._final])

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        missing = [name for name in PUBLISHED if name not in self._members]
        if missing:
            log.info("refine: without %s of the authors' nine strategies", ", ".join(missing))
        candidates = context.unlabeled
        for level in range(self.num_levels if n else 0):
            size = self.first_subset if level == 0 else round(self.alpha * len(candidates))
            size = min(len(candidates), max(n, size))
            chosen = np.unique(np.concatenate(self._batches(context, candidates, size, n)))
            if len(chosen) < n:
                break
            if len(chosen) > self.max_candidates:
                chosen = context.rng.choice(chosen, max(n, self.max_candidates), replace=False)
            log.info("refine: level %d leaves %d of %d", level + 1, len(chosen), len(candidates))
            candidates = np.sort(chosen)
        return query_part(self._final, context, candidates, n)

    def _batches(
        self, context: QueryContext, candidates: np.ndarray, size: int, n: int
    ) -> list[np.ndarray]:
        batches = []
        for member in self._members.values():
            for _ in range(max(1, self.num_batches // len(self._members))):
                subset = context.rng.choice(candidates, size, replace=False)
                batches.append(query_part(member, context, subset, n))
        return batches


def _check_types(strategies: Any, final: Any, options: Any) -> None:
    """Raises ValueError for what cannot be names of strategies and their options."""
    if isinstance(strategies, str) or not isinstance(strategies, Sequence):
        raise ValueError(f"strategies={strategies!r}: must be a list of names of strategies")
    if not isinstance(final, str):
        raise ValueError(f"final={final!r}: must be the name of a strategy")
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options={options!r}: must map names of strategies to hyperparameters")
