"""First centroids: greedy k-means++, in rounds that draw many candidates at once."""

import numpy as np
import torch
from torch import Tensor

TRIALS = 8  # candidates for each seed
ROUND = 8  # seeds of a round: a product of 64 rows runs at full speed, one of 8 does not


def seed_centroids(rows: Tensor, weights: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Of candidates drawn by D², those that leave the least inertia, one after the other.

    Arthur and Vassilvitskii, 2007, section 4.2, https://dl.acm.org/doi/10.5555/1283383.1283494;
    here the seeds of a round, at most a quarter of those there are, share their candidates.

    Args:
        rows: Distinct items. Shape: (n, d).
        weights: How much each counts, positive. Shape: (n,).
        k: Number of seeds, at most n.
        rng: Draws them.

    Returns:
        Positions of the seeds, in order of choice. Shape: (k,).
    """
    weights = weights.double()
    share = (weights / weights.max()).float()
    chosen = _draw(weights, 1, rng).tolist()
    rows = rows - rows[chosen]
    squares = rows.square().sum(dim=1)
    nearest = squares.clone()  # to the first seed, which is the origin now
    while len(chosen) < k:
        size = min(ROUND, 1 + len(chosen) // 4, k - len(chosen))
        mass = nearest.double() * weights
        if float(mass.sum()) == 0:  # rounded to nothing: any item not yet chosen
            mass[:] = 1
            mass[chosen] = 0
            nearest = mass.float()
        candidates = _draw(mass, TRIALS * size, rng)  # (t,)
        distances = torch.addmm(squares, rows[candidates], rows.T, alpha=-2)  # (t, n)
        distances.add_(squares[candidates, None]).clamp_(min=0)
        distances[torch.arange(len(candidates)), candidates] = 0
        for _ in range(size):
            gains = (nearest - distances).clamp_(min=0).mul_(share).sum(dim=1)
            best = int(gains.argmax())
            if float(gains[best]) <= 0:
                break
            chosen.append(int(candidates[best]))
            nearest = torch.minimum(nearest, distances[best])
            nearest[chosen] = 0
    return torch.tensor(chosen)


def _draw(mass: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    cumulative = mass.cumsum(dim=0)
    targets = torch.from_numpy(rng.random(size)) * cumulative[-1]
    return torch.searchsorted(cumulative, targets, right=True).clamp_(max=len(mass) - 1)
