"""How good picks are, in the terms of the method that made them."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from _selection_data import Head, Problem
from torch import Tensor

from dal_toolbox.active_learning.strategies._purity import pure_radius
from dal_toolbox.seeding import generator, torch_generator

ROWS = 8192
Picks = tuple[int, ...]


def radius(problem: Problem, picks: Picks) -> float:
    """Largest distance of an item to its nearest labeled or picked one."""
    return float(_squared_distances(problem, picks).max().sqrt())


def kernel_coverage(problem: Problem, picks: Picks) -> float:
    """Mean over the pool of the largest exp(−‖x − s‖²)."""
    return float((-_squared_distances(problem, picks)).exp().mean())


def ball_coverage(problem: Problem, picks: Picks) -> float:
    """Share of the pool in balls of one radius, that of 95 % purity."""
    x = torch.from_numpy(problem.features(mapped=True))
    rng = generator(0, "radius")
    delta = pure_radius(x, problem.num_classes, 0.95, rng=rng, chunk_bytes=2**28)
    return float((_squared_distances(problem, picks) < delta**2).float().mean())


def kmeans_cost(problem: Problem, picks: Picks) -> float:
    """Mean squared distance to the nearest labeled or picked item."""
    return float(_squared_distances(problem, picks).mean())


def weighted_cost(problem: Problem, picks: Picks) -> float:
    """The same, every item weighted by its entropy."""
    p = _probabilities(problem)
    weights = -torch.special.xlogy(p, p).sum(dim=1)
    return float((_squared_distances(problem, picks) * weights).sum() / weights.sum())


def gradient_cost(problem: Problem, picks: Picks) -> float:
    """BADGE: mean squared distance of gradients to the nearest pick's."""
    x, p = torch.from_numpy(problem.features(mapped=True)), _probabilities(problem)
    q = p - F.one_hot(p.argmax(dim=1), p.shape[1])
    rows = torch.tensor(picks)
    norms = x.float().norm(dim=1).double() * q.norm(dim=1)
    best = []
    for part in _parts(problem):
        inner = (q[part] @ q[rows].T) * (x[part].float() @ x[rows].float().T)
        squared = norms[part, None].square() + norms[rows].square() - 2 * inner
        best.append(squared.clamp(min=0).amin(dim=1))
    return float(torch.cat(best).mean())


def contrast(problem: Problem, picks: Picks) -> float:
    """CAL: mean KL(p_neighbor ‖ p) over the ten nearest labeled items of the picks."""
    x = torch.from_numpy(problem.features(mapped=True))
    known = x[: len(problem.labels)]
    nearest = torch.cdist(x[list(picks)].double(), known.double()).topk(
        min(10, len(known)), largest=False
    )
    p = Head(problem).probabilities(known)[nearest.indices]  # (b, k, C)
    log_q = Head(problem).logits(x[list(picks)]).double().log_softmax(dim=1)
    divergence = (torch.special.xlogy(p, p) - p * log_q[:, None]).sum(dim=2)
    return float(divergence.mean())


def mean_margin(problem: Problem, picks: Picks) -> float:
    """p₁ − p₂ of the picks."""
    top = _probabilities(problem, picks).topk(2, dim=1).values
    return float((top[:, 0] - top[:, 1]).mean())


def mean_confidence(problem: Problem, picks: Picks) -> float:
    """p₁ of the picks."""
    return float(_probabilities(problem, picks).amax(dim=1).mean())


def mean_entropy(problem: Problem, picks: Picks) -> float:
    p = _probabilities(problem, picks)
    return float(-torch.special.xlogy(p, p).sum(dim=1).mean())


def mean_disagreement(problem: Problem, picks: Picks) -> float:
    """BALD: mutual information of label and weights of the picks, each for itself."""
    rows = torch.from_numpy(problem.features(mapped=True)[list(picks)])
    samples = Head(problem).samples(rows, generator(0)).double()  # (b, C, M)
    p = samples.mean(dim=2)
    joint = -torch.special.xlogy(p, p).sum(dim=1)
    return float((joint + torch.special.xlogy(samples, samples).sum(dim=1).mean(dim=1)).mean())


def joint_information(problem: Problem, picks: Picks, draws: int = 20_000) -> float:
    """BatchBALD: mutual information of all labels together and the weights, by sampling labels."""
    rows = torch.from_numpy(problem.features(mapped=True)[list(picks)])
    log_p = Head(problem).samples(rows, generator(0)).double().log()  # (b, C, M)
    rng = torch_generator(generator(0, "labels"))
    which = torch.randint(log_p.shape[2], (draws,), generator=rng)
    total = torch.zeros(draws, log_p.shape[2], dtype=torch.float64)  # log p(labels | weights)
    for item in log_p:
        given = item.T.exp()[which]  # (draws, C)
        labels = torch.multinomial(given, 1, generator=rng)[:, 0]
        total += item[labels]
    chosen = total.gather(1, which[:, None])[:, 0]
    return float((chosen - total.logsumexp(dim=1)).mean() + math.log(total.shape[1]))


def open_information(problem: Problem, picks: Picks) -> float:
    """BAIT: tr((1 + F_S)⁻¹ F) with the information p₁ (1 − p₁) h hᵀ of all items and of the labeled and picked."""
    x = torch.from_numpy(problem.features(mapped=True)).double()
    largest = _probabilities(problem).amax(dim=1)
    rows = x * (largest * (1 - largest)).sqrt()[:, None]
    some = rows[[*range(len(problem.labels)), *picks]]
    known = torch.eye(x.shape[1], dtype=x.dtype) + some.T @ some / len(some)
    return float(torch.linalg.solve(known, rows.T @ rows / len(rows)).trace())


# Name and whether more is better (+) or less (-).
OBJECTIVES: dict[str, tuple[str, Callable[[Problem, Picks], float]]] = {
    "random": ("k-means cost -", kmeans_cost),
    "least_confident": ("confidence -", mean_confidence),
    "margin": ("margin -", mean_margin),
    "entropy": ("entropy +", mean_entropy),
    "coreset": ("radius -", radius),
    "typiclust": ("k-means cost -", kmeans_cost),
    "probcover": ("share in balls +", ball_coverage),
    "maxherding": ("kernel coverage +", kernel_coverage),
    "badge": ("gradient cost -", gradient_cost),
    "dropquery": ("k-means cost -", kmeans_cost),
    "falcun": ("margin -", mean_margin),
    "cal": ("contrast +", contrast),
    "clue": ("weighted cost -", weighted_cost),
    "discriminative": ("kernel coverage +", kernel_coverage),
    "bald": ("information +", mean_disagreement),
    "batchbald": ("joint information +", joint_information),
    "variation_ratio": ("information +", mean_disagreement),
    "subsample": ("margin -", mean_margin),
}


def _squared_distances(problem: Problem, picks: Picks) -> Tensor:
    """To the nearest labeled or picked item, unit-norm features. Shape: (n,)."""
    x = torch.from_numpy(problem.features(mapped=True))
    chosen = torch.tensor([*range(len(problem.labels)), *picks])
    keys = x[chosen].double()
    parts = [torch.cdist(x[part].double(), keys).amin(dim=1) for part in _parts(problem)]
    return torch.cat(parts).square()


def _probabilities(problem: Problem, picks: Picks | None = None) -> Tensor:
    x = torch.from_numpy(problem.features(mapped=True))
    return Head(problem).probabilities(x if picks is None else x[list(picks)])


def _parts(problem: Problem) -> Iterator[slice]:
    return (slice(start, min(start + ROWS, problem.n)) for start in range(0, problem.n, ROWS))


def shared(first: Picks, second: Picks) -> float:
    """Share of picks that both chose."""
    return len(np.intersect1d(first, second)) / max(1, len(first))
