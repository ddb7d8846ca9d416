"""The features of one split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from dal_toolbox.io import remove_leftovers
from dal_toolbox.neighbors import KNNGraph, knn_graph, unit_norm
from dal_toolbox.progress import log


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one split, in dataset order.

    Args:
        values: float16 or float32, possibly memory-mapped. Shape: (n, d).
        targets: Class indices, int64, -1 = no label. Shape: (n,).
        names: Names of the images. Length: n.
        key: What they were computed from, as a hex digest.
        directory: Where they lie; the kNN graph is cached beside them.
    """

    values: Tensor
    targets: Tensor
    names: Sequence[str]
    key: str
    directory: Path | None = None
    _graphs: list[KNNGraph] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = len(self.values), len(self.targets), len(self.names)
        if len(set(sizes)) > 1:
            raise ValueError("features, targets and names are {}, {} and {}".format(*sizes))

    def __len__(self) -> int:
        return len(self.values)

    def normalized(self) -> Tensor:
        """The features scaled to unit norm, float32; rows of zeros stay zero. Shape: (n, d)."""
        return self._normalized

    def neighbors(self, k: int) -> KNNGraph:
        """The k nearest other items of every item, in cosine distance.

        Computed once: a graph with more neighbors, in memory or on disk, serves smaller k too.

        Raises:
            NotEnoughItems: k is larger than n - 1.
        """
        if not self._graphs or self._graphs[0].k < k:
            self._graphs[:] = [self._cached_graph(k)]
        return self._graphs[0].head(k)

    @cached_property
    def _normalized(self) -> Tensor:
        return unit_norm(self.values)

    def _cached_graph(self, k: int) -> KNNGraph:
        if self.directory is None:
            return self._graph(k)
        path = self.directory / "neighbors" / "cosine"
        graph = self._load_graph(path, k)
        if graph is not None:
            return graph
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):  # freed by the system if its holder dies
                graph = self._load_graph(path, k)  # another process may have been first
                if graph is None:
                    remove_leftovers(path)
                    graph = self._graph(k)
                    graph.save(path)
        except OSError as error:
            log.warning("the kNN graph cannot be kept at %s: %s", path, error)
        return graph or self._graph(k)

    def _graph(self, k: int) -> KNNGraph:
        return knn_graph(self.values, k, metric="cosine")

    def _load_graph(self, path: Path, k: int) -> KNNGraph | None:
        if not path.exists():
            return None
        try:
            graph = KNNGraph.load(path)
        except (OSError, ValueError, KeyError) as error:
            log.warning("damaged kNN graph, computed anew: %s (%s)", path, error)
            return None
        if len(graph) != len(self):
            log.warning("kNN graph of %d items, computed anew: %s", len(graph), path)
            return None
        return graph if graph.k >= k else None
