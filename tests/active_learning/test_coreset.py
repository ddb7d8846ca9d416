import numpy as np
import pytest
import torch

from dal_toolbox.active_learning.strategies import _kcenter
from dal_toolbox.active_learning.strategies._kcenter import kcenter_greedy


def brute_force(features, centers, candidates, n):
    """Naive greedy in float64, from differences."""
    x = features.double()
    mean = x[candidates].mean(0)
    picks: list[int] = []
    for _ in range(n):
        used = [*centers.tolist(), *picks]
        if used:
            scores = (x[candidates, None] - x[used]).square().sum(2).amin(1)
        else:
            scores = -(x[candidates] - mean).square().sum(1)
        scores[torch.isin(candidates, torch.tensor(picks))] = -torch.inf
        picks.append(int(candidates[scores.argmax()]))
    return picks


def datasets() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(80, 6, generator=generator)
    constant = normal.clone()
    constant[:, 0] = 1e4
    return {
        "normal": normal,
        "duplicates": normal[:16].repeat(5, 1),
        "constant feature": constant,
        "all equal": normal[:1].repeat(80, 1),
        "grid": torch.randint(0, 3, (80, 3), generator=generator).float(),  # many exact ties
        "line": torch.arange(80.0)[:, None],
        "half": (100 * normal).half(),
        "tiny": 1e-6 * normal,
        "shifted": normal.double() + 1e6,
    }


@pytest.mark.parametrize("name", datasets())
@pytest.mark.parametrize("centers", [[], [5], [70, 2, 33]])
@pytest.mark.parametrize("active", [4, 4096])
def test_picks_equal_brute_force(name, centers, active, monkeypatch):
    monkeypatch.setattr(_kcenter, "ACTIVE", active)
    features = datasets()[name]
    centers = torch.tensor(centers, dtype=torch.int64)
    candidates = torch.tensor([i for i in range(80) if i not in centers.tolist()])
    expected = brute_force(features, centers, candidates, 40)
    picks = kcenter_greedy(features, centers, candidates, 40, chunk_bytes=2**20)
    assert picks.tolist() == expected


def test_digits_equal_brute_force_whatever_the_chunks():
    from sklearn.datasets import load_digits

    features = torch.from_numpy(load_digits().data / 16).float()
    centers, candidates = torch.arange(3), torch.arange(3, len(features))
    distances = torch.cdist(features[candidates].double(), features[centers].double()).amin(1)
    expected = []
    for _ in range(60):
        expected.append(int(candidates[distances.argmax()]))
        new = (features[candidates].double() - features[expected[-1]].double()).norm(dim=1)
        distances = torch.minimum(distances, new)
    for chunk_bytes in (2**15, 2**28):
        picks = kcenter_greedy(features, centers, candidates, 60, chunk_bytes=chunk_bytes)
        assert picks.tolist() == expected


def test_features_must_be_finite():
    features = datasets()["normal"]
    features[40, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        kcenter_greedy(features, torch.arange(2), torch.arange(2, 80), 5, chunk_bytes=2**20)


def test_memory_mapped_half_precision(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float16)
    np.save(tmp_path / "values.npy", values)
    mapped = torch.from_numpy(np.load(tmp_path / "values.npy", mmap_mode="c"))
    one, two = (
        kcenter_greedy(x, torch.arange(2), torch.arange(2, 500), 20, chunk_bytes=2**14)
        for x in (mapped, torch.from_numpy(values).double())
    )
    assert torch.equal(one, two)
