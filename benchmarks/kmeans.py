"""k-means: both backends against scikit-learn, seconds and inertia from equal starts in number.

python benchmarks/kmeans.py
python benchmarks/kmeans.py --n 200000 --dim 384 --clusters 1000 --repeats 1
"""

import argparse
import os
from collections.abc import Callable

import numpy as np
import torch
from _bench import print_table, time_interleaved, write_json
from neighbors import make_features
from torch import Tensor

from dal_toolbox.neighbors import kmeans

Clustering = Callable[[Tensor, int, int], float]  # points, clusters, seed -> inertia


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    points, _ = make_features(options.n, 0, options.dim)
    inertia: dict[str, list[float]] = {name: [] for name in RUNS}

    def run(name: str) -> None:
        inertia[name].append(RUNS[name](points, options.clusters, len(inertia[name])))

    timings = time_interleaved(
        {name: lambda name=name: run(name) for name in RUNS}, repeats=options.repeats
    )
    rows = [
        [name, f"{timing.median:.2f}", f"{timing.best:.2f} - {timing.worst:.2f}",
         f"{np.mean(inertia[name]):.1f}", f"{np.std(inertia[name]):.1f}"]
        for name, timing in timings.items()
    ]  # fmt: skip
    columns = ["k-means", "median s", "range s", "inertia", "±"]
    print_table(f"{options.n} x {options.dim}, k {options.clusters}", columns, rows)
    write_json("kmeans", {**vars(options), "inertia": inertia}, timings)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def ours(backend: str) -> Clustering:
    def run(points: Tensor, k: int, seed: int) -> float:
        return kmeans(points, k, rng=np.random.default_rng(seed), backend=backend).inertia

    return run


def scikit_learn(points: Tensor, k: int, seed: int) -> float:
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=1, random_state=seed).fit(points.numpy()).inertia_


RUNS: dict[str, Clustering] = {
    "torch": ours("torch"),
    "faiss": ours("faiss"),
    "scikit-learn": scikit_learn,
}

if __name__ == "__main__":
    main()
