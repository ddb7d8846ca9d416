"""The n largest scores: float32 for all items, float64 for those that may be among them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from math import log
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.strategies.base import (
    ScoreStrategy,
    check_size,
    checked_scores,
    random_query,
)

CACHE = 2**19  # numbers that are worked on at once
UNIT = 2.0**-24  # rounding error of float32


class Block(Protocol):
    """What is known of some items: a tensor with one of them a row, or several of these."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice | Tensor) -> Self: ...
    def numel(self) -> int:
        """How many numbers it takes to score the block."""
        ...


B = TypeVar("B", bound=Block)


class ScreenedStrategy(ScoreStrategy, ABC, Generic[B]):
    """Scores that are exact where they decide a pick.

    ``rough`` is within ``error`` of ``exact``: an item of the n largest exact scores is at most twice
    that below the n-th rough score so far. Exact scores depend on the item alone, so that
    the picks, and what ties, are those of exact scores of all items. Ties are broken by the rng.
    """

    @abstractmethod
    def blocks(self, context: QueryContext) -> Iterator[B]:
        """What scores are made of, of ``context.unlabeled`` in order."""

    @abstractmethod
    def rough(self, block: B) -> Tensor:
        """Scores in float32. Shape: (b,)."""

    @abstractmethod
    def exact(self, block: B) -> Tensor:
        """Scores in float64. Shape: (b,)."""

    @abstractmethod
    def error(self, block: B) -> float:
        """A bound of the difference of both."""

    def score(self, context: QueryContext) -> Tensor:
        scores = [part for block in self.blocks(context) for part in in_cache(self.exact, block)]
        return torch.cat([context.features.new_empty(0, dtype=torch.float64), *scores])

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        try:
            scores = checked_scores(
                self._leading(context, n), len(context.unlabeled), type(self).__name__
            )
        except NoClassifier:
            return random_query(context, n, instead_of=type(self).__name__)
        shuffled = context.rng.permutation(len(scores))
        shuffled = shuffled[scores[shuffled] > -np.inf]
        return context.unlabeled[shuffled[np.argsort(-scores[shuffled], kind="stable")][:n]]

    def _leading(self, context: QueryContext, n: int) -> Tensor:
        """Exact scores; −∞ of items that n others are above. Shape: (n_unlabeled,)."""
        scores = context.features.new_full((len(context.unlabeled),), -np.inf, dtype=torch.float64)
        best = scores.new_empty(0, dtype=torch.float32)
        end = 0
        for block in self.blocks(context):
            start, end = end, end + len(block)
            rough = torch.cat(list(in_cache(self.rough, block)))
            known = torch.cat([best, rough.nan_to_num(-np.inf)])
            best = known.topk(min(max(n, 1), len(known))).values
            floor = best[-1].double() - 2 * self.error(block) if len(best) >= n else -np.inf
            close = (~(rough < floor)).nonzero().squeeze(1)  # NaN is close: to be found and named
            if len(close):
                scores[start + close] = torch.cat(list(in_cache(self.exact, block[close])))
        return scores


class ScreenedPredictions(ScreenedStrategy[Tensor], ABC):
    """Scores of predictions, (b, C) or (b, C, M), that are sums over classes of p or p log p."""

    def error(self, block: Tensor) -> float:
        return error(block)


def error(block: Tensor) -> float:
    """Bound of the error of a score that is a sum over classes of p or p log p, in float32.

    Sums of m terms in any order are within m units of rounding, relatively, and logarithms of
    p that matter are of the order of log C; 6 leaves room for exp and log themselves, and for the mean
    over M draws and the difference of two such sums.
    """
    classes, draws = block.shape[1], block.shape[2] if block.ndim == 3 else 1
    return 6 * UNIT * (classes + draws + 16) * (1 + log(classes))


def in_cache(function: Callable[[B], Tensor], block: B) -> Iterator[Tensor]:
    """Of the rows, as many at once as stay in the cache."""
    size = max(16, CACHE // max(1, block[:1].numel()))
    for start in range(0, len(block), size):
        yield function(block[start : start + size])
