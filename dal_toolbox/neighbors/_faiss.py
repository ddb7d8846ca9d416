"""Candidates from FAISS indexes. torch is imported first: the other order hangs forked workers."""

from typing import Any

import torch
from torch import Tensor

from dal_toolbox.neighbors._sides import Side

NUM_PROBES = 32  # IVF: lists searched for a query
LINKS = 32  # HNSW: neighbors of a node
EFFORT = 128  # HNSW: nodes kept in sight during build and search


def faiss_gpus() -> int:
    """Number of GPUs that FAISS can use; 0 with a CPU build."""
    import faiss

    return int(faiss.get_num_gpus())


def propose_flat(left: Side, right: Side, width: int, exclude_self: bool) -> tuple[Tensor, Tensor]:
    """Candidates of a flat index, with a lower bound of all keys left out."""
    distances, indices = _search(build_index("flat", right), left, width + exclude_self)
    error = 2 * left.epsilon() * (_squares(left) + _squares(right).max())
    bound = distances[:, -1] - error
    return bound, (_drop_self(indices) if exclude_self else indices)


def propose_approximate(
    kind: str, left: Side, right: Side, width: int, exclude_self: bool
) -> Tensor:
    """Candidates of an IVF or HNSW index; -1 where it found too few. Shape: (m, width)."""
    index = build_index(kind, right)
    if kind == "hnsw":
        index.hnsw.efSearch = max(EFFORT, 2 * width)
    _, indices = _search(index, left, width + exclude_self)
    return _drop_self(indices) if exclude_self else indices


def build_index(kind: str, keys: Side) -> Any:
    """A trained index that holds the centered keys in float32."""
    import faiss

    d = keys.rows.shape[1]
    index: Any
    if kind == "flat":
        index = faiss.IndexFlatL2(d)
    elif kind == "ivf":
        index = _ivf(keys)
    else:
        index = faiss.IndexHNSWFlat(d, LINKS)
        index.hnsw.efConstruction = EFFORT
    if kind != "hnsw" and faiss_gpus() > 0:
        index = faiss.index_cpu_to_all_gpus(index)
    for i in range(len(keys)):
        index.add(_numpy(keys.block(i)[0]))
    return index


def train_centroids(
    items: Tensor,
    weights: Tensor,
    centroids: Tensor,
    *,
    iterations: int,
    spherical: bool,
    seed: int,
) -> Tensor:
    """Lloyd's algorithm of FAISS, on its GPUs if there are some. Shape: (k, d), float32.

    Args:
        items: Float32. Shape: (n, d).
        weights: How much each counts. Shape: (n,).
        centroids: The first ones. Shape: (k, d).
        iterations: Number of steps.
        spherical: Scales centroids to unit length.
        seed: Chooses what takes the place of an empty cluster.
    """
    import faiss

    k, d = centroids.shape
    trainer = faiss.Kmeans(
        d, k, niter=iterations, spherical=spherical, seed=seed, gpu=faiss_gpus() > 0,
        min_points_per_centroid=1, max_points_per_centroid=len(items),
    )  # fmt: skip
    equal = bool((weights == weights[0]).all())
    trainer.train(
        _numpy(items),
        weights=None if equal else _numpy(weights.float()),
        init_centroids=_numpy(centroids),
    )
    return torch.from_numpy(trainer.centroids).to(items.device)


def _ivf(keys: Side) -> Any:
    import faiss

    n, d = keys.rows.shape
    num_lists = max(1, min(int(4 * n**0.5), n // 39))  # FAISS warns below 39 points a list
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, num_lists)
    index.cp.min_points_per_centroid = 1
    step = max(1, n // (256 * num_lists))  # every step-th row trains; FAISS uses 256 a list
    index.train(_numpy(keys.prepare(torch.arange(0, n, step, device=keys.rows.device))[0]))
    index.nprobe = min(NUM_PROBES, num_lists)
    return index


def _search(index: Any, queries: Side, width: int) -> tuple[Tensor, Tensor]:
    device = queries.rows.device
    found = [index.search(_numpy(queries.block(i)[0]), width) for i in range(len(queries))]
    distances = torch.cat([torch.from_numpy(distances) for distances, _ in found])
    indices = torch.cat([torch.from_numpy(indices) for _, indices in found])
    return distances.double().to(device), indices.to(device)


def _drop_self(indices: Tensor) -> Tensor:
    """Drops i from row i, or the last entry where i was not found: (n, w + 1) -> (n, w)."""
    n, width = indices.shape
    mine = indices == torch.arange(n, device=indices.device)[:, None]
    mine[:, -1] |= ~mine.any(dim=1)
    return indices[~mine].view(n, width - 1)


def _squares(side: Side) -> Tensor:
    return torch.cat([side.block(i)[1] for i in range(len(side))]).double()


def _numpy(rows: Tensor) -> Any:
    return rows.cpu().contiguous().numpy()
