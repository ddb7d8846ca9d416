import numpy as np
import pytest
import torch

from dal_toolbox.active_learning.strategies import _kcenter
from dal_toolbox.active_learning.strategies._kcenter import kcenter_greedy, largest
from dal_toolbox.active_learning.strategies._kcenter_points import Points, upper_bounds


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
        "two far groups": 0.05 * normal + torch.tensor([1e5, -1e5]).repeat(40)[:, None],
    }


@pytest.mark.parametrize("name", datasets())
@pytest.mark.parametrize("centers", [[], [5], [70, 2, 33]])
@pytest.mark.parametrize(("active", "stage"), [(1, 1), (4, 3), (4, 256), (4096, 256)])
def test_picks_equal_brute_force(name, centers, active, stage, monkeypatch):
    monkeypatch.setattr(_kcenter, "ACTIVE", active)
    monkeypatch.setattr(_kcenter, "STAGE", stage)
    features = datasets()[name]
    centers = torch.tensor(centers, dtype=torch.int64)
    candidates = torch.tensor([i for i in range(80) if i not in centers.tolist()])
    expected = brute_force(features, centers, candidates, 40)
    picks = kcenter_greedy(features, centers, candidates, 40, chunk_bytes=2**20)
    assert picks.tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_are_far_apart(seed):
    """Distances within a group are 1e-7 of the norms, and float32 features still resolve them."""
    generator = torch.Generator().manual_seed(seed)
    features = 0.05 * torch.randn(100, 2, generator=generator)
    features += torch.tensor([1e5, -1e5]).repeat_interleave(50)[:, None]
    centers = torch.tensor([0, 50])
    candidates = torch.tensor([i for i in range(100) if i not in (0, 50)])
    picks = kcenter_greedy(features, centers, candidates, 10, chunk_bytes=2**20)
    assert picks.tolist() == brute_force(features, centers, candidates, 10)


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


@pytest.mark.parametrize("scale", [1e-25, 1e-19, 1e-12, 1.0, 1e12, 1e18])
@pytest.mark.parametrize("d", [1, 7, 384])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_upper_bounds_are_not_below_and_close(scale, d, dtype):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, d, generator=generator, dtype=torch.float64)
    x[50:100] = x[:50] + 1e-5 * x[100:150]  # almost duplicates
    features = (scale * (x + 10)).to(dtype)
    everything = torch.arange(200)
    points = Points(features, everything, 2**20)
    exact = torch.full((200,), torch.inf)
    points.shorten(exact, everything, everything[:20], torch.float64)
    squares = points.rows(everything, torch.float64).square().sum(dim=1)
    b = points.rows(everything, torch.float32)
    bounds = upper_bounds(b, b[:20], b[:20].square().sum(dim=1))
    assert (bounds >= exact).all()
    if 1e-12 <= scale <= 1e12:
        assert (bounds <= exact + 1e-3 * squares.max()).all()


@pytest.mark.parametrize("centers", [0, 30])
def test_a_large_pool_meets_few_centers(centers, monkeypatch):
    """The same picks as with the whole pool exact at once, for far fewer products."""
    monkeypatch.setattr(_kcenter, "ACTIVE", 32)
    monkeypatch.setattr(_kcenter, "STAGE", 16)
    generator = torch.Generator().manual_seed(1)
    blobs = 3 * torch.randn(20, 8, generator=generator).repeat_interleave(150, dim=0)
    features = blobs + torch.randn(3000, 8, generator=generator)
    features = features[torch.randperm(3000, generator=generator)]
    products = []
    shorten = Points.shorten

    def counted(self, distances, positions, block, dtype):
        products.append(len(positions) * len(block))
        shorten(self, distances, positions, block, dtype)

    monkeypatch.setattr(Points, "shorten", counted)
    known, candidates = torch.arange(centers), torch.arange(centers, 3000)
    picks = kcenter_greedy(features, known, candidates, 60, chunk_bytes=2**28)
    assert sum(products) < 0.5 * (centers + 60) * len(candidates)
    assert picks.tolist() == brute_force(features, known, candidates, 60)


def test_largest_takes_the_lowest_of_equals():
    values = torch.tensor([1.0, 3.0, 2.0, 2.0, 5.0, 2.0])
    assert [largest(values, 3)[0].tolist(), *largest(values, 3)[1:]] == [[1, 2, 4], 2.0, 3]
    assert [largest(values, 2)[0].tolist(), *largest(values, 2)[1:]] == [[1, 4], 2.0, -1]
    assert largest(values, 6)[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_no_pick():
    x = datasets()["normal"]
    assert len(kcenter_greedy(x, torch.arange(2), torch.arange(2, 80), 0, chunk_bytes=2**20)) == 0


def test_too_large_for_float32():
    features = 1e25 * torch.randn(80, 6, generator=torch.Generator().manual_seed(0)).double()
    features[::2] *= 1e-9
    centers, candidates = torch.arange(2), torch.arange(2, 80)
    picks = kcenter_greedy(features, centers, candidates, 78, chunk_bytes=2**20)
    assert sorted(picks.tolist()) == candidates.tolist()
