"""DCoM: dynamic coverage and margin mix (Mishal & Weinshall, 2024, https://arxiv.org/abs/2407.01804)."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._balls import BallCover, balls_of
from dal_toolbox.active_learning.strategies._cover_pool import (
    check_limit,
    indices_on,
    sample_items,
    search_bytes,
)
from dal_toolbox.active_learning.strategies._radii import covered_share, pure_radii
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.active_learning.strategies.probcover import ProbCover, check_radius, find_radius
from dal_toolbox.active_learning.strategies.uncertainty import MarginSampling
from dal_toolbox.progress import log


@STRATEGIES.register("dcom")
class DCoM(QueryStrategy):
    """From ProbCover to margin sampling, as the coverage of the pool grows.

    The ball of each labeled item gets the radius at which its purity in the labels known and
    predicted falls to 0.4 + 0.2 · coverage. What these balls hold is covered, with share c. The next
    item has the largest S · u + (1 − S) · v: u is 1 − margin and v the number of uncovered items
    within the mean radius, both scaled to [0, 1], and the competence is
    S(c) = (1 + exp(−k (1 − a))) / (1 + exp(−k (c − a))).

    Unlike the published procedure, which keeps the radii of earlier queries, every query adapts all
    of them to the model of the day; their coverage before is that of balls of radius ``delta``.
    Without labels it is ProbCover, and the log says so. Ties go to the lowest index.

    Memory and ``max_items`` as in ProbCover. Time O((N + #labeled) N d).

    Args:
        delta: Radius before there are labels; none: from the purity, at most ``max_delta``.
        purity: Share of pure balls at that radius, in (0, 1].
        max_delta: Largest radius of a ball.
        resolution: Precision of the radii.
        steepness: k, growth of the competence.
        center: a, the coverage where it grows most.
        max_items: Unlabeled items to cover and to choose from; none: all.
    """

    def __init__(
        self,
        *,
        delta: float | None = None,
        purity: float = 0.95,
        max_delta: float = 1.1,
        resolution: float = 0.05,
        steepness: float = 50.0,
        center: float = 0.8,
        max_items: int | None = 50_000,
    ) -> None:
        check_radius(delta, purity)
        check_limit("max_items", max_items)
        if not 0 < resolution <= max_delta:
            raise ValueError(f"resolution={resolution}; wanted more than 0, at most {max_delta}")
        self.delta = delta
        self.purity = purity
        self.max_delta = max_delta
        self.resolution = resolution
        self.steepness = steepness
        self.center = center
        self.max_items = max_items

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return self._cold_start(context, n)
        candidates = sample_items(context, self.max_items, n, "dcom")
        unlabeled = candidates
        if len(candidates) == len(context.unlabeled):
            unlabeled = context.pool.unlabeled
        items = np.concatenate([context.labeled, unlabeled])
        x = context.normalized[indices_on(context.features, items)]
        same = np.array_equal(unlabeled, context.unlabeled)
        everyone = context if same else context.restrict(unlabeled)
        cover, competence = self._cover(context, x, everyone.logits.argmax(dim=1))
        margin = _scaled(1 + MarginSampling().score(everyone)).to(x.device)  # 1 - (p₁ - p₂)
        open_ = indices_on(x, np.isin(unlabeled, candidates).nonzero()[0])
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
        _, before = covered_share(x, centers, radii, **room)
        radii = pure_radii(
            x,
            labels,
            centers,
            purity=0.4 + 0.2 * before,
            max_radius=self.max_delta,
            resolution=self.resolution,
            **room,
        )
        covered, share = covered_share(x, centers, radii, **room)
        mean, competence = float(radii.mean()), self._competence(share)
        log.debug("dcom: coverage %.3f, mean radius %.3g, S=%.3f", share, mean, competence)
        return BallCover(balls_of(x, mean, **room), covered), competence

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
