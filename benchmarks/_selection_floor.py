"""What no implementation of a method can go below on this machine: arithmetic and memory traffic."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from _bench import memory_bandwidth, time_interleaved

LIMIT = 50_000  # items between which the covering strategies measure all distances
CENTROIDS = 2**18  # items that train the centroids of larger pools, one pass at least


@dataclass(frozen=True)
class Size:
    """N items of d features in so many bytes, C classes, B picks, L labels, M draws."""

    n: int
    d: int
    c: int
    b: int
    labeled: int
    draws: int
    item_bytes: int

    @property
    def predict(self) -> float:
        """Operations of one prediction of the pool."""
        return 2.0 * self.n * self.d * self.c

    @property
    def pairs(self) -> float:
        """Operations of all distances within a part of the pool, used in both directions."""
        return float(min(self.n, LIMIT)) ** 2 * self.d

    def centers(self, k: float) -> float:
        """Operations of the distances of the pool to k centers."""
        return 2.0 * self.n * self.d * k


# Operations of the passes that the definition of a method asks for, once each. Where items can be
# left out by bounds (coreset's later picks, D² sampling) only the part that none can leave out.
OPERATIONS: dict[str, Callable[[Size], float]] = {
    "least_confident": lambda s: s.predict,
    "margin": lambda s: s.predict,
    "entropy": lambda s: s.predict,
    "stochastic": lambda s: s.predict,
    "badge": lambda s: s.predict,
    "falcun": lambda s: s.predict,
    "galaxy": lambda s: s.predict,
    "alfamix": lambda s: s.predict,
    "ldm": lambda s: s.predict,
    "cluster_margin": lambda s: s.predict,
    "dropquery": lambda s: 4 * s.predict,
    "bald": lambda s: s.draws * s.predict,
    "batchbald": lambda s: s.draws * s.predict,
    "variation_ratio": lambda s: s.draws * s.predict,
    "cal": lambda s: s.predict + s.centers(s.labeled),
    "bait": lambda s: s.predict + s.centers(s.d) + s.centers(2 * 2 * s.b),  # two columns a pick
    "coreset": lambda s: s.centers(s.labeled),
    "typiclust": lambda s: s.centers(min(500, s.labeled + s.b)),
    "random_cluster": lambda s: s.centers(s.b),
    "clue": lambda s: s.predict + s.centers(s.b),
    "activeft": lambda s: s.centers(s.b),
    "discriminative": lambda s: s.centers(10),
    "maxherding": lambda s: s.pairs,
    "facility_location": lambda s: s.pairs,
    "uncertainty_herding": lambda s: s.pairs + s.predict,
    "probcover": lambda s: s.pairs,
    "dcom": lambda s: s.pairs + s.predict,
    "random": lambda s: 0.0,
}


def floor_seconds(strategy: str, size: Size, rate: float, bandwidth: float) -> float | None:
    """The longer of arithmetic and of one pass over the features; None where no formula is given."""
    if strategy not in OPERATIONS:
        return None
    operations = OPERATIONS[strategy](size)
    traffic = size.n * size.d * size.item_bytes if operations else 0
    return max(operations / rate, traffic / bandwidth)


def machine(threads: int, n: int = 3000) -> tuple[float, float]:
    """Floating-point operations a second of a large product; bytes a second of a large copy."""
    torch.set_num_threads(threads)
    a = torch.ones(n, n)
    timing = time_interleaved({"product": lambda: a @ a}, repeats=5)["product"]
    return 2 * n**3 / timing.best, memory_bandwidth(threads, 64 if n < 1000 else 256)
