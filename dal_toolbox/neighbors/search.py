"""k nearest neighbors: one face over the exact search in torch and the indexes of FAISS."""

import time
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

from dal_toolbox.errors import UserError
from dal_toolbox.neighbors._exact import exact_neighbors, propose_in_torch, rerank, settle
from dal_toolbox.neighbors._faiss import faiss_gpus, propose_approximate, propose_flat
from dal_toolbox.neighbors._sides import Metric, Side, plain_float32, two_sides
from dal_toolbox.progress import log

Backend = Literal["auto", "exact", "flat", "ivf", "hnsw"]
BACKENDS = ("auto", "exact", "flat", "ivf", "hnsw")
METRICS = ("euclidean", "cosine")
CHUNK_BYTES = 2**28
GPU_WORK = 10**11  # multiply-adds from which the way to a GPU and back pays


class NotEnoughItems(UserError, ValueError):
    """More neighbors asked of a set than it has."""


class Neighbors(NamedTuple):
    """Distances (m, k) float32, ascending, and indices of the keys (m, k) int64."""

    distances: Tensor
    indices: Tensor


def knn(
    queries: Tensor,
    keys: Tensor,
    k: int,
    *,
    metric: Metric = "euclidean",
    exclude_self: bool = False,
    backend: Backend = "auto",
    chunk_bytes: int = CHUNK_BYTES,
) -> Neighbors:
    """The k nearest keys of every query, by (distance, index): among equals the lowest index first.

    ``"exact"`` and ``"flat"`` give what brute force in float64 gives, for any ``chunk_bytes`` and
    number of threads; ``"auto"`` takes one of them. ``"ivf"`` and ``"hnsw"`` may miss neighbors and
    are taken only when named; a graph that is built by several threads can differ from run to run.

    Args:
        queries: Any float type, possibly memory-mapped. Shape: (m, d).
        keys: On the device of the queries. Shape: (n, d).
        k: Number of neighbors, 1 to n (n - 1 with ``exclude_self``).
        metric: ``"euclidean"``: ‖a - b‖. ``"cosine"``: 1 - cos, where a row of zeros has cosine 0
            with everything.
        exclude_self: Queries and keys are the same items: key i is no neighbor of query i, while
            its duplicates are.
        backend: ``"auto"``, ``"exact"`` (torch), ``"flat"``, ``"ivf"`` or ``"hnsw"`` (FAISS).
        chunk_bytes: Bound of the working memory of ``"exact"`` beside the result.

    Raises:
        NotEnoughItems: k is larger than the number of keys.
        NotFinite: A row holds NaN or infinity.

    >>> points = Tensor([[0.0], [1.0], [1.0], [3.0]])
    >>> knn(points, points, 2, exclude_self=True).indices.tolist()
    [[1, 2], [2, 0], [1, 0], [1, 2]]
    """
    _check(queries, keys, k, metric, exclude_self, backend)
    chosen = choose_backend(backend, len(queries), keys)
    start = time.perf_counter()
    with plain_float32():
        left, right = two_sides(queries.detach(), keys.detach(), metric, chunk_bytes)
        squared, indices = _search(chosen, left, right, k, exclude_self)
        distances = squared / 2 if metric == "cosine" else squared.sqrt()
    seconds = time.perf_counter() - start
    log.debug("%d neighbors of %d items: %s, %.2f s", k, len(queries), chosen, seconds)
    return Neighbors(distances.float(), indices)


def choose_backend(backend: Backend, num_queries: int, keys: Tensor) -> str:
    """What ``"auto"`` means here; never an approximation.

    The search in torch runs where the features are. Features on the CPU go to a GPU, through the
    flat index of FAISS, if FAISS has one and the work is large.
    """
    if backend != "auto":
        return backend
    work = num_queries * keys.numel()
    if keys.device.type != "cpu" or work < GPU_WORK or faiss_gpus() == 0:
        log.debug("neighbors: exact in torch on %s (%.1e multiply-adds)", keys.device, work)
        return "exact"
    log.info("neighbors: flat FAISS index on %d GPUs (%.1e multiply-adds)", faiss_gpus(), work)
    return "flat"


def _search(
    backend: str, left: Side, right: Side, k: int, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    if len(left.rows) == 0:
        empty = left.norm.new_empty((0, k))
        return empty, empty.long()
    if backend == "exact":
        return exact_neighbors(left, right, k, exclude_self, propose_in_torch)
    if backend == "flat":
        return exact_neighbors(left, right, k, exclude_self, propose_flat)
    return _approximate(partial(propose_approximate, backend), left, right, k, exclude_self)


def _approximate(
    propose: partial[Tensor], left: Side, right: Side, k: int, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """What the index found, in order of true distances; rows that it leaves short are searched."""
    indices = propose(left, right, k, exclude_self)
    short = (indices < 0).any(dim=1)
    squared, indices = rerank(left, right, indices.clamp(min=0))
    squared[short] = float("inf")
    settle(left, right, short.nonzero().squeeze(1), squared, indices, exclude_self)
    return squared, indices


def _check(
    queries: Tensor, keys: Tensor, k: int, metric: str, exclude_self: bool, backend: str
) -> None:
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise ValueError(
            f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} must be (m, d) and (n, d)"
        )
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r}: choose one of {', '.join(METRICS)}")
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: choose one of {', '.join(BACKENDS)}")
    if exclude_self and len(queries) != len(keys):
        raise ValueError(f"exclude_self with {len(queries)} queries and {len(keys)} keys")
    if not 1 <= k <= len(keys) - exclude_self:
        others = ", none of which is its own neighbor" if exclude_self else ""
        raise NotEnoughItems(
            f"k={k} neighbors asked of {len(keys)} items{others}; "
            f"choose k from 1 to {len(keys) - exclude_self}"
        )
