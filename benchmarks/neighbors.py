"""Nearest neighbors: the exact search against FAISS and scikit-learn, and the floor beneath them.

    python benchmarks/neighbors.py
    python benchmarks/neighbors.py --keys 50000 --queries 50000 --repeats 3

The floor is the time of the matrix product alone, at the rate that torch reaches on large matrices
on this machine. A graph needs half of it, for distances are symmetric.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _bench import Timing, print_table, time_interleaved, write_json
from torch import Tensor

from dal_toolbox.neighbors import knn
from dal_toolbox.neighbors._faiss import build_index
from dal_toolbox.neighbors._sides import Side

Search = Callable[[Tensor, Tensor, int], Tensor]  # queries, keys, k -> indices


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    queries, keys = make_features(options.queries, options.keys, options.dim)
    truth = knn(queries, keys, options.k, backend="exact").indices
    searches: dict[str, tuple[Search, Tensor]] = {
        name: (run, queries) for name, run in RUNS.items()
    }
    searches["graph: exact"] = (graph, keys)
    searches["graph: FAISS flat"] = (faiss_flat, keys)
    timings = time_interleaved(
        {
            "matrix product": lambda: queries @ keys.T,
            **{
                name: lambda run=run, data=data: run(data, keys, options.k)
                for name, (run, data) in searches.items()
            },
        },
        repeats=options.repeats,
    )
    rate = peak_rate()
    facts = {name: {} for name in timings}
    for name, (run, data) in searches.items():
        facts[name]["peak_mib"] = peak_memory(name, options)
        if data is queries:
            facts[name]["recall"] = recall(run(queries, keys, options.k), truth)
    for kind in ("ivf", "hnsw"):
        facts[kind]["build_seconds"] = build_seconds(kind, keys)
    report(options, timings, facts, rate)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=21)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def make_features(num_queries: int, num_keys: int, dim: int) -> tuple[Tensor, Tensor]:
    """Rows around 100 centers, of 32 intrinsic dimensions and some noise, as features have."""
    rng = np.random.default_rng(0)
    n = num_queries + num_keys
    latent = rng.normal(size=(100, 32))[rng.integers(100, size=n)] + 0.7 * rng.normal(size=(n, 32))
    rows = latent @ rng.normal(size=(32, dim)) / 32**0.5 + 0.1 * rng.normal(size=(n, dim))
    return torch.from_numpy(rows.astype(np.float32)).split([num_queries, num_keys])


def ours(backend: str) -> Search:
    return lambda queries, keys, k: knn(queries, keys, k, backend=backend).indices


def graph(features: Tensor, keys: Tensor, k: int) -> Tensor:
    return knn(keys, keys, k, exclude_self=True, backend="exact").indices


def faiss_flat(queries: Tensor, keys: Tensor, k: int) -> Tensor:
    """FAISS as it comes: float32 distances, nothing proven."""
    import faiss

    index = faiss.IndexFlatL2(keys.shape[1])
    index.add(keys.numpy())
    return torch.from_numpy(index.search(queries.numpy(), k)[1])


def scikit_learn(queries: Tensor, keys: Tensor, k: int) -> Tensor:
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(keys.numpy())
    return torch.from_numpy(model.kneighbors(queries.numpy(), return_distance=False))


RUNS: dict[str, Search] = {
    "exact": ours("exact"),
    "flat, proven": ours("flat"),
    "ivf": ours("ivf"),
    "hnsw": ours("hnsw"),
    "FAISS flat": faiss_flat,
    "scikit-learn": scikit_learn,
}


def recall(found: Tensor, truth: Tensor) -> float:
    hits = (found[:, :, None] == truth[:, None]).any(dim=1)
    return float(hits.double().mean())


def build_seconds(kind: str, keys: Tensor) -> float:
    start = time.perf_counter()
    build_index(kind, Side.of(keys, "euclidean", 2**28))
    return time.perf_counter() - start


def peak_rate(n: int = 3000) -> float:
    """Floating-point operations per second of a large product, the best of five."""
    a = torch.ones(n, n)
    timing = time_interleaved({"product": lambda: a @ a}, repeats=5)["product"]
    return 2 * n**3 / timing.best


def peak_memory(name: str, options: argparse.Namespace) -> float:
    """MiB that a search takes at its peak beside its inputs, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_memory, (name, options))


def _peak_memory(name: str, options: argparse.Namespace) -> float:
    torch.set_num_threads(options.threads)
    queries, keys = make_features(options.queries, options.keys, options.dim)
    runs = {**RUNS, "graph: exact": graph, "graph: FAISS flat": faiss_flat}
    few = slice(64)
    runs[name](queries[few], keys[few], 2)  # libraries are loaded
    before = _peak_mib(reset=True)
    runs[name](keys if name.startswith("graph") else queries, keys, options.k)
    return max(0.0, _peak_mib() - before)


def _peak_mib(reset: bool = False) -> float:
    """High-water mark of the resident memory; with ``reset``, what is resident now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def report(
    options: argparse.Namespace,
    timings: dict[str, Timing],
    facts: dict[str, dict[str, float]],
    rate: float,
) -> None:
    size = f"{options.queries} x {options.keys}, d {options.dim}, k {options.k}"
    floor = 2 * options.queries * options.keys * options.dim / rate
    rows = []
    for name, timing in timings.items():
        fact = facts[name]
        rows.append([
            name,
            f"{timing.median:.2f}",
            f"{timing.best:.2f} - {timing.worst:.2f}",
            f"{fact['recall']:.4f}" if "recall" in fact else "",
            f"{fact['build_seconds']:.1f}" if "build_seconds" in fact else "",
            f"{fact['peak_mib']:.0f}" if "peak_mib" in fact else "",
        ])  # fmt: skip
    columns = ["search", "median s", "range s", "recall", "of it build s", "peak MiB"]
    print_table(f"{size}: floor {floor:.2f} s at {rate / 1e9:.0f} GFLOP/s", columns, rows)
    results = {**vars(options), "flop_per_second": rate, "floor_seconds": floor, "searches": facts}
    write_json("neighbors", results, timings)


if __name__ == "__main__":
    main()
