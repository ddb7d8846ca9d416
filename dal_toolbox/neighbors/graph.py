"""Graphs of neighbors: the k nearest, and all within a radius."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.io import (
    atomic_directory,
    block_digests,
    load_array,
    read_json,
    verify_blocks,
    write_json,
)
from dal_toolbox.neighbors._sides import (
    UNDERFLOW,
    Metric,
    Side,
    lower_bounds,
    measure,
    plain_float32,
)
from dal_toolbox.neighbors.search import CHUNK_BYTES, METRICS, Backend, NotEnoughItems, knn

ARRAYS = ("distances.npy", "indices.npy")


@dataclass(frozen=True, eq=False)
class KNNGraph:
    """The k nearest other items of every item.

    Attributes:
        distances: Ascending, float32. Shape: (n, k).
        indices: Of the neighbors; among equals the lowest first; never the item itself. Int64.
            Shape: (n, k).
        metric: ``"euclidean"`` or ``"cosine"``, see :func:`dal_toolbox.neighbors.knn`.
    """

    distances: Tensor
    indices: Tensor
    metric: Metric

    @property
    def k(self) -> int:
        return self.indices.shape[1]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.indices)

    def head(self, k: int) -> Self:
        """The graph of the k nearest, a view of this one."""
        if not 1 <= k <= self.k:
            raise NotEnoughItems(f"k={k} neighbors asked of a graph with {self.k}")
        return type(self)(self.distances[:, :k], self.indices[:, :k], self.metric)

    def save(self, directory: Path, source: str = "") -> None:
        """Writes ``distances.npy``, ``indices.npy`` and ``graph.json``, or nothing at all.

        Args:
            directory: Where it goes.
            source: Name of what the graph was computed from.
        """
        with atomic_directory(directory) as temporary:
            np.save(temporary / "distances.npy", self.distances.cpu().numpy())
            np.save(temporary / "indices.npy", self.indices.cpu().numpy())
            facts = {
                "metric": self.metric,
                "shape": list(self.indices.shape),
                "source": source,
                "blocks": {name: block_digests(temporary / name) for name in ARRAYS},
            }
            write_json(temporary / "graph.json", facts)

    @classmethod
    def load(cls, directory: Path, source: str = "") -> Self:
        """The saved graph, memory-mapped; every byte is compared with the checksums beside it.

        Args:
            directory: Where it lies.
            source: Name of what it must have been computed from.

        Raises:
            OSError: A file is missing.
            ValueError: A file is damaged, or the graph is that of something else.
        """
        facts = read_json(directory / "graph.json")
        try:
            shape, metric, blocks = facts["shape"], facts["metric"], facts["blocks"]
            damaged = [n for n in ARRAYS if verify_blocks(directory / n, blocks[n]) is not None]
        except (KeyError, TypeError) as error:
            raise ValueError("graph.json is damaged or has no checksums") from error
        if damaged:
            raise ValueError(f"{damaged[0]} is not what was written")
        if facts.get("source") != source:
            raise ValueError(f"computed from {facts.get('source')}, not from {source}")
        distances, indices = (load_array(directory / name) for name in ARRAYS)
        if metric not in METRICS or not list(distances.shape) == list(indices.shape) == shape:
            raise ValueError(f"no graph of metric {metric} and shape {shape}")
        if indices.min() < 0 or indices.max() >= shape[0]:
            raise ValueError(f"indices are not in [0, {shape[0]})")
        return cls(distances, indices, metric)


@dataclass(frozen=True, eq=False)
class CSR:
    """A graph in compressed rows: the neighbors of i are ``indices[indptr[i]:indptr[i + 1]]``.

    Attributes:
        indptr: Int64. Shape: (n + 1,).
        indices: Ascending within a row, int32. Shape: (number of edges,).
    """

    indptr: Tensor
    indices: Tensor

    def __len__(self) -> int:
        """Number of items."""
        return len(self.indptr) - 1

    def row(self, i: int) -> Tensor:
        """Neighbors of item i."""
        return self.indices[int(self.indptr[i]) : int(self.indptr[i + 1])]

    @property
    def degrees(self) -> Tensor:
        """Number of neighbors of every item. Shape: (n,)."""
        return self.indptr.diff()


def knn_graph(
    features: Tensor,
    k: int,
    *,
    metric: Metric = "euclidean",
    backend: Backend = "auto",
    chunk_bytes: int = CHUNK_BYTES,
) -> KNNGraph:
    """The k nearest other items of every item; see :func:`dal_toolbox.neighbors.knn`.

    Args:
        features: Shape: (n, d).
        k: Number of neighbors, 1 to n - 1.
        metric: ``"euclidean"`` or ``"cosine"``.
        backend: How to search.
        chunk_bytes: Bound of the working memory beside the result.
    """
    found = knn(
        features,
        features,
        k,
        metric=metric,
        exclude_self=True,
        backend=backend,
        chunk_bytes=chunk_bytes,
    )
    return KNNGraph(found.distances, found.indices, metric)


def radius_graph(
    features: Tensor,
    radius: float,
    *,
    metric: Metric = "euclidean",
    chunk_bytes: int = CHUNK_BYTES,
) -> CSR:
    """All pairs of different items at a distance below ``radius``, exact as float64 brute force.

    Args:
        features: Shape: (n, d), n < 2³¹.
        radius: Edges are strictly shorter than this.
        metric: ``"euclidean"`` or ``"cosine"``.
        chunk_bytes: Bound of the working memory beside the result.

    >>> radius_graph(torch.tensor([[0.0], [1.0], [1.5]]), 1.0).indices.tolist()
    [2, 1]
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r}: choose one of {', '.join(METRICS)}")
    if not radius > 0:
        raise ValueError(f"radius={radius}; wanted more than 0")
    limit = 2 * radius if metric == "cosine" else radius**2
    with plain_float32():
        side = Side.of(features.detach(), metric, chunk_bytes)
        parts = [_edges_of_block(side, i, limit) for i in range(len(side))]
    start = torch.zeros(1, dtype=torch.int64, device=features.device)
    degrees = torch.cat([start, *(degrees for degrees, _ in parts)])
    return CSR(degrees.cumsum(0), torch.cat([start[:0].int(), *(columns for _, columns in parts)]))


def _edges_of_block(side: Side, i: int, limit: float) -> tuple[Tensor, Tensor]:
    """Degrees (b,) of the rows of block i, and the columns of their edges, row by row."""
    found = [_edges_of_tile(side, i, j, limit) for j in range(len(side))]
    rows, columns = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = rows.argsort(stable=True)
    size = side.span(i).stop - side.span(i).start
    return torch.bincount(rows, minlength=size), columns[order].int()


def _edges_of_tile(side: Side, i: int, j: int, limit: float) -> tuple[Tensor, Tensor]:
    (a, aa), (b, bb) = side.block(i), side.block(j)
    bounds = lower_bounds((a, aa), (b, bb))
    if i == j:
        bounds.fill_diagonal_(float("inf"))
    row, column = (bounds.double() - UNDERFLOW < limit).nonzero().unbind(1)
    slack = 3 * side.epsilon() * (aa[row] + bb[column]).double() + UNDERFLOW
    upper = bounds[row, column].double() + slack
    unsure = (upper >= limit).nonzero().squeeze(1)
    query, key = row + side.span(i).start, column + side.span(j).start
    measured = measure(side, side, query[unsure], key[unsure][:, None]).squeeze(1)
    keep = torch.ones_like(row, dtype=torch.bool)
    keep[unsure] = measured < limit
    return row[keep], key[keep]
