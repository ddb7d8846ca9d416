"""What a query strategy may see."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.pool import Pool, check_unlabeled
from dal_toolbox.classifiers import BayesianClassifier, Classifier, with_posterior
from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import KNNGraph, knn_graph, unit_norm
from dal_toolbox.seeding import draw_seed, generator

CHUNK_BYTES = 2**28
ROWS = 8192  # of one call of the classifier; fixed, so that chunk_bytes cannot change a logit


class NoClassifier(UserError):
    """Asked for predictions before any item is labeled."""


@dataclass(frozen=True, eq=False)
class QueryContext:
    """All that a strategy may see: never the targets of unlabeled items.

    Costly parts are computed on first access. Predictions come in the order of ``unlabeled``.

    Args:
        features: The whole pool, float16 or wider, possibly memory-mapped. Shape: (n, d).
        pool: What is labeled. Not to be changed by a strategy.
        labels: Of ``pool.labeled``, in that order, int64. Shape: (num_labeled,).
        num_classes: Number of classes, C, seen or not.
        rng: The only source of randomness.
        classifier: Fitted to the labels; None while there are none (cold start).
        cycle: Number of this query: 1, 2, …; 0 for the initial selection.
        candidates: The unlabeled items to choose from, ascending; all of them by default.
        normalize: Gives ``normalized`` where it is cached elsewhere.
        graph: Gives ``neighbors(k)`` where it is cached elsewhere.
        chunk_bytes: Bound of the working memory of a chunk.
    """

    features: Tensor
    pool: Pool
    labels: Tensor
    num_classes: int
    rng: np.random.Generator
    classifier: Classifier | None = None
    cycle: int = 0
    candidates: np.ndarray | None = None
    normalize: Callable[[], Tensor] | None = None
    graph: Callable[[int], KNNGraph] | None = None
    chunk_bytes: int = CHUNK_BYTES

    @property
    def labeled(self) -> np.ndarray:
        """Indices of the labeled items, in order of acquisition. Shape: (num_labeled,)."""
        return self.pool.labeled

    @property
    def unlabeled(self) -> np.ndarray:
        """Indices of the items to choose from, ascending. Shape: (n_unlabeled,)."""
        return self.pool.unlabeled if self.candidates is None else self.candidates

    @cached_property
    def logits(self) -> Tensor:
        """The classifier's logits of the unlabeled items, float32. Shape: (n_unlabeled, C).

        Raises:
            NoClassifier: Cold start: there is no label to learn from.
        """
        return self._predict(self._fitted.logits)

    @cached_property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, float64. Shape: (n_unlabeled, C)."""
        return self.logits.double().softmax(dim=1)

    @cached_property
    def samples(self) -> Tensor:
        """Class probabilities under M draws from the posterior. Shape: (n_unlabeled, C, M).

        Raises:
            NoClassifier: Cold start.
            UserError: The classifier has no posterior; the message names those that have one.
        """
        classifier = self._fitted
        if not isinstance(classifier, BayesianClassifier):
            raise UserError(
                f"{type(classifier).__name__} has no posterior to draw samples from; "
                f"classifiers that have one: {', '.join(with_posterior())}"
            )
        seed = draw_seed(self.rng)  # every block of items sees the same M draws
        return self._predict(lambda features: classifier.samples(features, generator(seed)))

    @cached_property
    def normalized(self) -> Tensor:
        """The features scaled to unit norm, float32; rows of zeros stay zero. Shape: (n, d).

        The features themselves where they have unit norm: not to be changed.
        """
        if self.normalize is not None:
            return self.normalize()
        return unit_norm(self.features)

    def neighbors(self, k: int) -> KNNGraph:
        """The k nearest other items of every item of the pool, in cosine distance."""
        if self.graph is not None:
            return self.graph(k)
        if k not in self._graphs:
            self._graphs[k] = knn_graph(self.normalized, k, metric="cosine")
        return self._graphs[k]

    def restrict(self, candidates: np.ndarray) -> Self:
        """The same context with fewer items to choose from (subsampling, filtering).

        Args:
            candidates: Distinct unlabeled dataset indices, in any order.
        """
        return replace(self, candidates=np.sort(check_unlabeled(candidates, self.pool)))

    def part(self, items: np.ndarray) -> tuple[Self, np.ndarray]:
        """A context whose pool holds the labeled items and these alone, as if there were no others.

        Args:
            items: Distinct unlabeled dataset indices, in any order.

        Returns:
            The context, and the dataset index of each item of its pool, ascending.
        """
        check_unlabeled(items, self.pool)
        kept = np.sort(np.concatenate([self.labeled, items]))
        history = [np.searchsorted(kept, batch) for batch in self.pool.history]
        rows = torch.from_numpy(kept).to(self.features.device)
        known = self.normalize is not None or "normalized" in self.__dict__
        part = replace(
            self,
            features=rows_at(self.features, kept),
            pool=Pool.from_history(len(kept), history),
            candidates=None,
            normalize=(lambda: self.normalized[rows]) if known else None,
            graph=None,
        )
        return part, kept

    @cached_property
    def _graphs(self) -> dict[int, KNNGraph]:
        return {}

    @property
    def _fitted(self) -> Classifier:
        if self.classifier is None:
            raise NoClassifier("no item is labeled yet: there is no classifier to ask")
        return self.classifier

    def _predict(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        n = len(self.unlabeled)
        result = function(rows_at(self.features, self.unlabeled[:ROWS]))
        if n <= ROWS:
            return result
        first, result = result, result.new_empty((n, *result.shape[1:]))
        result[:ROWS] = first  # filled in place: a cat of all blocks would be a second copy
        for start in range(ROWS, n, ROWS):
            part = slice(start, start + ROWS)
            result[part] = function(rows_at(self.features, self.unlabeled[part]))
        return result


def rows_at(features: Tensor, indices: np.ndarray) -> Tensor:
    """Rows at ascending indices: not copied where there is no gap between them. Shape: (b, d)."""
    if len(indices) and indices[-1] - indices[0] == len(indices) - 1:
        return features[int(indices[0]) : int(indices[-1]) + 1]
    return features[torch.from_numpy(indices).to(features.device)]
