"""What a run of active learning carries from cycle to cycle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.journal import SET_ASIDE
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.pool import Pool
from dal_toolbox.active_learning.records import CycleResult
from dal_toolbox.classifiers import Classifier
from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import KNNGraph, knn_graph, unit_norm
from dal_toolbox.seeding import generator


class PoolFeatures(Protocol):
    """What the loop takes of ``dal_toolbox.features.Features``: all but the targets."""

    @property
    def values(self) -> Tensor: ...
    def normalized(self) -> Tensor: ...
    def neighbors(self, k: int) -> KNNGraph: ...


@dataclass
class RunState:
    """Pool and labels so far, with the features and settings that never change."""

    values: Tensor
    normalize: Callable[[], Tensor]
    graph: Callable[[int], KNNGraph]
    num_classes: int
    pool: Pool
    chunk_bytes: int
    names: Sequence[str] = ()
    labels: list[int] = field(default_factory=list)

    @classmethod
    def of(
        cls, features: Tensor | PoolFeatures, num_classes: int, pool: Pool | None, chunk_bytes: int
    ) -> Self:
        normalize: Callable[[], Tensor]
        graph: Callable[[int], KNNGraph]
        if isinstance(features, Tensor):
            values = features
            normalize = cache(lambda: unit_norm(values))
            graph = cache(lambda k: knn_graph(normalize(), k, metric="cosine"))
        else:
            values, normalize, graph = (
                features.values,
                cache(features.normalized),
                features.neighbors,
            )
        pool = Pool(len(values)) if pool is None else pool
        if pool.size != len(values) or pool.history:
            raise ValueError(
                f"{pool} with {len(values)} items: a fresh pool of that size is needed"
            )
        names = getattr(features, "names", None) or ()  # a tensor has names, too: of dimensions
        names = () if isinstance(features, Tensor) else names
        return cls(values, normalize, graph, num_classes, pool, chunk_bytes, names)

    def names_of(self, indices: np.ndarray) -> tuple[str, ...]:
        """Names of items; none if the pool has no names."""
        return tuple(self.names[i] for i in indices.tolist()) if len(self.names) else ()

    def context(self, classifier: Classifier | None, seed: int, cycle: int) -> QueryContext:
        return QueryContext(
            features=self.values,
            pool=self.pool,
            labels=self._label_tensor(),
            num_classes=self.num_classes,
            rng=generator(seed, "query", cycle) if cycle else generator(seed, "initial"),
            classifier=classifier,
            cycle=cycle,
            normalize=self.normalize,
            graph=self.graph,
            chunk_bytes=self.chunk_bytes,
        )

    def fit(self, make_classifier: Callable[[], Classifier]) -> Classifier | None:
        """A new classifier fitted to the labels so far; None while there is none."""
        if not self.labels:
            return None
        rows = torch.from_numpy(self.pool.labeled).to(self.values.device)
        return make_classifier().fit(self.values[rows], self._label_tensor())

    def buy(self, indices: np.ndarray, oracle: Oracle) -> tuple[int, ...]:
        labels = np.asarray(oracle.label(indices))
        self._take(indices, labels, type(oracle).__name__)
        return tuple(labels.tolist())

    def replay(self, result: CycleResult, cycle: int, n: int, *, is_last: bool) -> None:
        # The last one may be shorter: items were added to a pool that was used up.
        fits = len(result.queried) == n or (is_last and len(result.queried) < n)
        if result.cycle != cycle or not fits:
            raise UserError(
                f"cannot resume: cycle {cycle} with {n} labels is next, but the results hold cycle "
                f"{result.cycle} with {len(result.queried)}; use the old settings or overwrite"
            )
        self._take(np.array(result.queried), np.array(result.labels), "the results to resume from")

    def _take(self, indices: np.ndarray, labels: np.ndarray, source: str) -> None:
        valid = labels.shape == indices.shape and np.issubdtype(labels.dtype, np.integer)
        if not valid or labels.min() < SET_ASIDE or labels.max() >= self.num_classes:
            raise UserError(
                f"{source}: {labels.tolist()} are no {len(indices)} classes "
                f"of 0 to {self.num_classes - 1}"
            )
        is_labeled = labels != SET_ASIDE
        self.pool.label(indices[is_labeled])
        self.pool.skip(indices[~is_labeled])
        self.labels.extend(labels[is_labeled].tolist())

    def _label_tensor(self) -> Tensor:
        return torch.tensor(self.labels, dtype=torch.int64, device=self.values.device)
