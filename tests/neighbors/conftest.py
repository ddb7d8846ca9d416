"""Data on which searches go wrong: ties, duplicates, offsets, extremes, half precision."""

import pytest
import torch
from torch import Tensor


def _make(name: str, n: int = 300, d: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    if name == "duplicates":
        return x[torch.randint(0, 20, (n,), generator=generator)]
    return {
        "normal": x,
        "constant": torch.ones(n, d),
        "far from zero": x * 1e-3 + 100,
        "float16": x.half(),
        "bfloat16": x.bfloat16(),
        "float64": x.double() * (1 + 1e-9),
        "zeros": torch.where(torch.arange(n)[:, None] % 3 == 0, torch.zeros(()), x),
        "grid": torch.randint(0, 9, (n, 1), generator=generator).float(),
        "tiny": x * 1e-30,
        "huge": x * 1e16,
        "outlier": torch.cat([x[1:], x[:1] * 1e8]),
    }[name]


NAMES = (
    "normal", "duplicates", "constant", "far from zero", "float16", "bfloat16", "float64", "zeros",
    "grid", "tiny", "huge", "outlier",
)  # fmt: skip


@pytest.fixture(params=NAMES)
def points(request) -> Tensor:
    return _make(request.param)


@pytest.fixture(scope="session")
def make():
    return _make


@pytest.fixture(scope="session")
def distance_matrix():
    """Distances by definition, in float64."""
    return _distance_matrix


@pytest.fixture(scope="session")
def brute_force():
    """Nearest neighbors by definition: distances and indices."""
    return _brute_force


def _distance_matrix(queries: Tensor, keys: Tensor, metric: str = "euclidean") -> Tensor:
    a, b = queries.double(), keys.double()
    if metric == "euclidean":
        return torch.stack([(b - row).square().sum(1).sqrt() for row in a])
    no_direction = (a == 0).all(1)[:, None] | (b == 0).all(1)
    a, b = (x / x.norm(dim=1, keepdim=True).clamp(min=1e-300) for x in (a, b))
    squared = torch.stack([(b - row).square().sum(1) for row in a])
    return (squared / 2).masked_fill(no_direction, 1.0)


def _brute_force(
    queries: Tensor, keys: Tensor, k: int, metric: str = "euclidean", exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    distances = _distance_matrix(queries, keys, metric)
    if exclude_self:
        distances.fill_diagonal_(float("inf"))
    distances, indices = distances.sort(dim=1, stable=True)
    return distances[:, :k], indices[:, :k]
