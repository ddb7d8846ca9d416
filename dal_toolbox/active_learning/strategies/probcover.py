"""ProbCover (Yehuda et al., 2022, https://arxiv.org/abs/2205.11320)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._balls import BallCover, Balls
from dal_toolbox.active_learning.strategies._cover_pool import search_bytes
from dal_toolbox.active_learning.strategies._kcenter import kcenter_greedy
from dal_toolbox.active_learning.strategies._pool import (
    candidate_subset,
    rows_of,
    unit_rows,
)
from dal_toolbox.active_learning.strategies._purity import WIDEST, pure_radius
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import at_least, between, positive
from dal_toolbox.progress import log


@STRATEGIES.register("probcover")
class ProbCover(QueryStrategy):
    """Greedily covers the pool with balls of radius δ around labeled items, always taking the fullest ball.

    Unit-norm features; needs no classifier, works without labels. δ is the largest radius at which a
    share ``purity`` of all balls holds one cluster of k-means only, with as many clusters as
    classes. If every ball is empty, the item farthest from all labeled and chosen ones is taken
    (k-center); this is logged. Ties go to the lowest index.

    Deviation: the paper takes a purity of 0.95. But clusters of k-means split classes, and where
    two of them touch no ball is pure, however small: δ becomes so small that a ball holds an item
    and a few others, and with few labels the picks were no better than random ones on digits, raw or
    encoded, and on CIFAR-10. ``purity=0.95`` is the published rule.

    Exact up to ``max_items`` unlabeled items; a random subset of so many is covered and chosen from
    if there are more, which is logged. Time O(N² d), N at most #labeled + ``max_items``,
    with w < d in place of d where w = 32, 64 or 128 dimensions hold nearly all of the distances.
    Memory: one copy of the rows, and of those in w dimensions.

    Args:
        delta: Radius; none: from the purity.
        purity: Share of pure balls, in (0, 1]; 0.95 in the paper.
        max_items: Unlabeled items to cover and to choose from; none: all.
    """

    needs = FEATURES

    def __init__(
        self,
        *,
        delta: float | None = None,
        purity: float = 0.8,
        max_items: int | None = 50_000,
    ) -> None:
        check_radius(delta, purity)
        if max_items is not None:
            at_least(1, max_items=max_items)
        self.delta = delta
        self.purity = purity
        self.max_items = max_items

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if n == 0:
            return np.empty(0, np.int64)
        candidates = candidate_subset(
            context, self.max_items, n, "probcover", verb="covered and chosen from"
        )
        items = np.union1d(context.labeled, candidates)  # ascending
        if len(candidates) == len(context.unlabeled):
            items = np.arange(len(context.features))
        x = unit_rows(context, items)
        delta = float(self.delta or find_radius(context, x, self.purity, "probcover"))
        delta = min(delta, 2 * WIDEST)  # as good as any larger one, and its square is finite
        labeled = rows_of(context, np.searchsorted(items, context.labeled))
        balls = Balls(x, delta, search_bytes(context))
        covered = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        covered[balls.members(labeled)] = True
        cover = BallCover(balls, covered)
        open_ = rows_of(context, np.searchsorted(items, candidates))
        picks = items[fullest_balls(cover, open_, n).cpu().numpy()]
        return picks if len(picks) == n else _fill(context, picks, n)


def fullest_balls(cover: BallCover, candidates: Tensor, n: int) -> Tensor:
    """Up to n candidates, each with the most uncovered items in its ball; fewer if all are covered."""
    picks: list[Tensor] = []
    degrees = cover.degrees[candidates]
    while len(picks) < n and int(degrees.max()) > 0:
        picks.append(candidates[int(degrees.argmax())])  # the first of equals
        cover.pick(int(picks[-1]))
        degrees = cover.degrees[candidates]
    return torch.stack(picks) if picks else candidates[:0]


def find_radius(context: QueryContext, x: Tensor, purity: float, strategy: str) -> float:
    """The radius for a purity, with a log line to repeat it by."""
    size = search_bytes(context)
    delta = pure_radius(x, context.num_classes, purity, rng=context.rng, chunk_bytes=size)
    log.info("%s: delta=%.4g gives %g of all balls one cluster only", strategy, delta, purity)
    return delta


def check_radius(delta: float | None, purity: float) -> None:
    """Raises ValueError where a radius cannot be had."""
    if delta is not None:
        positive(delta=delta)
    positive(purity=purity)
    between(0, 1, purity=purity)


def _fill(context: QueryContext, picks: np.ndarray, n: int) -> np.ndarray:
    """Candidates in order of distance from all labeled and chosen ones, after the picks."""
    log.info(
        "probcover: all is covered after %d of %d items; the others are the farthest ones (k-center)",
        len(picks),
        n,
    )
    features = context.normalized
    more = kcenter_greedy(
        features,
        rows_of(context, np.concatenate([context.labeled, picks])),
        rows_of(context, np.setdiff1d(context.unlabeled, picks)),
        n - len(picks),
        chunk_bytes=context.chunk_bytes,
    )
    return np.concatenate([picks, more.cpu().numpy()])
