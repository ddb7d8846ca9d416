"""The features of one split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from dal_toolbox.datasets.base import as_rows
from dal_toolbox.io import remove_leftovers
from dal_toolbox.neighbors import KNNGraph, knn_graph, unit_norm
from dal_toolbox.progress import log

ITEMS_AT_ONCE = 256  # of images in memory while their content is digested


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one split, in dataset order.

    Args:
        values: float16 or float32, possibly memory-mapped. Shape: (n, d).
        targets: Class indices, int64, -1 = no label. Shape: (n,).
        names: Names of the images. Length: n.
        key: What they were computed from, as a hex digest.
        directory: Where they lie; the kNN graph is cached beside them.
        classes: Class names where they are known; target i is ``classes[i]``.
        items: Gives what the features at some indices (b,) were made of, such as images (b, c, h, w);
            by default the features themselves. See :meth:`content`.
    """

    values: Tensor
    targets: Tensor
    names: Sequence[str]
    key: str
    directory: Path | None = None
    classes: tuple[str, ...] = ()
    items: Callable[[np.ndarray], Tensor] | None = field(default=None, repr=False)
    _graphs: list[KNNGraph] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        sizes = len(self.values), len(self.targets), len(self.names)
        if len(set(sizes)) > 1:
            raise ValueError("features, targets and names are {}, {} and {}".format(*sizes))

    def __len__(self) -> int:
        return len(self.values)

    def content(self, indices: np.ndarray) -> list[str]:
        """What the items at ``indices`` (b,) are: 16 hex digits of the bytes of each.

        They are those of the stored image, or of the row of ``values`` where there is no image. Other
        items, their number and their order have no influence.
        """
        rows = as_rows(indices, len(self))
        parts = (rows[i : i + ITEMS_AT_ONCE] for i in range(0, len(rows), ITEMS_AT_ONCE))
        return [_digest(item) for part in parts for item in self._items(part)]

    def subset(self, indices: np.ndarray) -> Self:
        """The features at ``indices`` (b,), in that order; a copy in memory."""
        rows = as_rows(indices, len(self))
        chosen = torch.from_numpy(rows)
        return replace(
            self,
            values=self.values[chosen],
            targets=self.targets[chosen],
            names=[self.names[row] for row in rows.tolist()],
            key=sha256(self.key.encode() + rows.tobytes()).hexdigest()[:32],
            directory=None,
            items=None if self.items is None else partial(_items_at, self.items, rows),
        )

    def labeled(self) -> Self:
        """The items that have a label; these features themselves if all have one."""
        rows = (self.targets >= 0).nonzero().flatten().numpy()
        return self if len(rows) == len(self) else self.subset(rows)

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

    def _items(self, rows: np.ndarray) -> Tensor:
        return self.values[torch.from_numpy(rows)] if self.items is None else self.items(rows)

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
                    graph.save(path, source=path.parents[1].name)
        except OSError as error:
            log.warning("the kNN graph cannot be kept at %s: %s", path, error)
        return graph or self._graph(k)

    def _graph(self, k: int) -> KNNGraph:
        return knn_graph(self.values, k, metric="cosine")

    def _load_graph(self, path: Path, k: int) -> KNNGraph | None:
        if not path.exists():
            return None
        try:
            graph = KNNGraph.load(path, source=path.parents[1].name)
        except (OSError, ValueError) as error:
            log.warning("damaged kNN graph, computed anew: %s (%s)", path, error)
            return None
        if len(graph) != len(self) or graph.metric != "cosine":
            log.warning(
                "kNN graph of %d items (%s), computed anew: %s", len(graph), graph.metric, path
            )
            return None
        return graph if graph.k >= k else None


def _digest(item: Tensor) -> str:
    data = item.detach().contiguous().reshape(-1).view(torch.uint8)
    return sha256(data.numpy().data).hexdigest()[:16]


def _items_at(
    items: Callable[[np.ndarray], Tensor], rows: np.ndarray, indices: np.ndarray
) -> Tensor:
    return items(rows[indices])
