"""DCoM: dynamic coverage and margin mix (Mishal & Weinshall, 2024, https://arxiv.org/abs/2407.01804)."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._balls import BallCover, Balls
from dal_toolbox.active_learning.strategies._cover_pool import search_bytes
from dal_toolbox.active_learning.strategies._pool import (
    candidate_subset,
    check_limit,
    rows_of,
    share,
    unit_rows,
)
from dal_toolbox.active_learning.strategies._radii import (
    ball_purities,
    covered_share,
    pure_radii,
)
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.active_learning.strategies.probcover import ProbCover, check_radius, find_radius
from dal_toolbox.active_learning.strategies.uncertainty import MarginSampling
from dal_toolbox.arguments import between, positive
from dal_toolbox.progress import log

FINEST = 4096  # radii up to the largest
MAX_EXPONENT = 700  # whose exponential is a number
ROUNDS = 3  # in which the radii and the coverage that sets their purity follow each other


@STRATEGIES.register("dcom")
class DCoM(QueryStrategy):
    """From ProbCover to margin sampling, as the coverage of the pool grows.

    The ball of each labeled item gets the radius at which its purity in the labels known and
    predicted falls to a threshold, which rises with the coverage of such balls from ``min_purity``
    to ``max_purity``. What these balls hold is covered, with share c. The next item has the largest
    S · u + (1 − S) · v: u is 1 − margin and v the number of uncovered items
    within the mean radius, both scaled to [0, 1], and the competence is
    S(c) = (1 + exp(−k (1 − a))) / (1 + exp(−k (c − a))).

    The published procedure keeps the radii of earlier queries, and the coverage they have sets the
    threshold of the next. Here there is no state between queries: all radii are adapted to the model
    of the day, at first for the coverage of balls of radius ``delta``, then for their own, a few times.
    Where the published 0.4 to 0.6 let a few impure balls hold the pool, as on small or easy data
    sets, it is margin sampling from the start; ``min_purity`` and ``max_purity`` near 1 delay that.
    Without labels it is ProbCover, which is logged. Ties go to the lowest index.

    Memory and ``max_items`` as in ProbCover. Time O((N + #labeled) N d).

    Args:
        delta: Radius before there are labels; none: from the purity, at most ``max_delta``.
        purity: Share of pure balls at that radius, in (0, 1].
        min_purity: Purity of the balls of labeled items where nothing is covered.
        max_purity: Purity of the balls of labeled items where all is covered.
        max_delta: Largest radius of a ball.
        resolution: Precision of the radii.
        steepness: k, growth of the competence.
        center: a, the coverage where it grows most.
        max_items: Unlabeled items to cover and to choose from; none: all.
    """

    needs = FEATURES | PREDICTIONS
    starts_cold = True  # is ProbCover

    def __init__(
        self,
        *,
        delta: float | None = None,
        purity: float = 0.95,
        min_purity: float = 0.4,
        max_purity: float = 0.6,
        max_delta: float = 1.1,
        resolution: float = 0.05,
        steepness: float = 50.0,
        center: float = 0.8,
        max_items: int | None = 50_000,
    ) -> None:
        check_radius(delta, purity)
        check_limit("max_items", max_items)
        share(min_purity=min_purity, max_purity=max_purity)
        positive(max_delta=max_delta)
        between(0, 2, max_delta=max_delta)  # no two unit vectors are farther apart
        between(max_delta / FINEST, max_delta, resolution=resolution)
        if min_purity > max_purity:
            raise ValueError(f"min_purity={min_purity}: must be at most max_purity={max_purity}")
        positive(steepness=steepness)
        between(-10, 10, center=center)
        between(0, MAX_EXPONENT / (1 + abs(center)), steepness=steepness)
        self.delta = delta
        self.purity = purity
        self.min_purity = min_purity
        self.max_purity = max_purity
        self.max_delta = max_delta
        self.resolution = resolution
        self.steepness = steepness
        self.center = center
        self.max_items = max_items

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return self._cold_start(context, n)
        candidates = candidate_subset(
            context, self.max_items, n, "dcom", verb="covered and chosen from"
        )
        unlabeled = candidates
        if len(candidates) == len(context.unlabeled):
            unlabeled = context.pool.unlabeled
        items = np.concatenate([context.labeled, unlabeled])
        x = unit_rows(context, items)
        same = np.array_equal(unlabeled, context.unlabeled)
        everyone = context if same else context.restrict(unlabeled)
        cover, competence = self._cover(context, x, everyone.logits.argmax(dim=1))
        margin = _scaled(1 + MarginSampling().score(everyone)).to(x.device)  # 1 - (p₁ - p₂)
        open_ = rows_of(context, np.isin(unlabeled, candidates).nonzero()[0])
        picks = _mixed(cover, margin[open_], len(context.labeled) + open_, competence, n)
        return items[picks]

    def _cover(
        self, context: QueryContext, x: Tensor, predicted: Tensor
    ) -> tuple[BallCover, float]:
        """The balls of the mean radius, what is covered taken out, and the competence."""
        room: dict[str, Any] = {"chunk_bytes": search_bytes(context)}
        labels = torch.cat([context.labels.to(x.device), predicted.to(x.device)])
        centers = torch.arange(len(context.labels), device=x.device)
        delta = self.delta or find_radius(context, x, self.purity, "dcom")
        radii = torch.full((len(centers),), min(delta, self.max_delta), device=x.device)
        shares = ball_purities(
            x, labels, centers, max_radius=self.max_delta, resolution=self.resolution, **room
        )
        covered, share = covered_share(x, centers, radii, **room)
        for _ in range(ROUNDS):
            threshold = self.min_purity + (self.max_purity - self.min_purity) * share
            radii = pure_radii(shares, threshold, self.max_delta)
            covered, share = covered_share(x, centers, radii, **room)
        mean, competence = float(radii.mean()), self._competence(share)
        log.debug("dcom: coverage %.3f, mean radius %.3g, S=%.3f", share, mean, competence)
        return BallCover(Balls(x, mean, **room), covered), competence

    def _competence(self, coverage: float) -> float:
        k, a = self.steepness, self.center
        return (1 + math.exp(-k * (1 - a))) / (1 + math.exp(-k * (coverage - a)))

    def _cold_start(self, context: QueryContext, n: int) -> np.ndarray:
        log.info("dcom needs a classifier: probcover chooses %d items instead", n)
        strategy = ProbCover(delta=self.delta, purity=self.purity, max_items=self.max_items)
        return strategy.query(context, n)


def _mixed(
    cover: BallCover, margin: Tensor, candidates: Tensor, competence: float, n: int
) -> list[int]:
    """Picks n of the candidates, each with the largest mixed score of what is left."""
    left = torch.ones_like(candidates, dtype=torch.bool)
    picks: list[int] = []
    for _ in range(n):
        degrees = (cover.degrees[candidates] * left).double()
        uncertain = margin * left
        score = competence * _scaled_to_one(uncertain) + (1 - competence) * _scaled_to_one(degrees)
        best = int(score.float().masked_fill(~left, -1).argmax())  # the first of equals
        left[best] = False
        picks.append(int(candidates[best]))
        cover.pick(picks[-1])
    return picks


def _scaled(values: Tensor) -> Tensor:
    """Linearly to [0, 1]; zeros where all are equal."""
    if len(values) == 0:
        return values
    return _scaled_to_one(values - values.min())


def _scaled_to_one(values: Tensor) -> Tensor:
    largest = values.max()
    return values / largest if bool(largest > 0) else values
