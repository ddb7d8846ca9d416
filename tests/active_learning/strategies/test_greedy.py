from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.active_learning.strategies import _greedy
from dal_toolbox.active_learning.strategies._cover_kernel import CoverKernel, cosine, gaussian
from dal_toolbox.active_learning.strategies._greedy import greedy_cover

KERNELS = {
    "gaussian": (gaussian(1.0), lambda squared: np.exp(-squared)),
    "narrow": (gaussian(0.3), lambda squared: np.exp(-squared / 0.3**2)),
    "cosine": (cosine(), lambda squared: 1 - squared / 4),
}


def naive_greedy(values, weights, covered, n):
    """Greedy choice, candidate by candidate, from the kernel (m, T); the first of equals."""
    covered = covered.copy()
    picks, gains = [], []
    for _ in range(n):
        all_gains = []
        for c in range(len(values)):
            improvement = values[c] - covered
            improvement[improvement < 1e-12] = 0
            all_gains.append(-1 if c in picks else float(np.float32(weights @ improvement)))
        picks.append(int(np.argmax(all_gains)))
        gains.append(all_gains[picks[-1]])
        covered = np.maximum(covered, values[picks[-1]])
    return picks, gains


def squared_distances(a, b):
    return ((a[:, None] - b[None]) ** 2).sum(axis=2)


def unit(n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, d, generator=generator), dim=1)


def datasets():
    x = unit(60, 5)
    return {
        "random": x,
        "duplicates": x[:12].repeat(5, 1),
        "all equal": x[:1].repeat(60, 1),
        "zeros": torch.cat([x[:50], torch.zeros(10, 5)]),
        "near": F.normalize(x[:1] + 1e-4 * unit(60, 5, 1), dim=1),
        "grid": F.normalize(
            torch.randint(0, 3, (60, 3), generator=torch.Generator().manual_seed(2)).float(), dim=1
        ),
        "wide": unit(60, 300),
    }


def kernel_of(x, kernel, candidates=None, targets=None, chunk_bytes=2**28, clusters=None):
    everything = torch.arange(len(x))
    targets = everything if targets is None else targets
    candidates = everything if candidates is None else candidates
    return CoverKernel(x, targets, candidates, kernel, chunk_bytes, clusters)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", datasets())
@pytest.mark.parametrize("centers", [(), (7, 30)])
def test_picks_and_gains_equal_naive_greedy(name, kernel, centers):
    x = datasets()[name]
    function, formula = KERNELS[kernel]
    candidates = torch.tensor([i for i in range(60) if i % 4])
    weights = torch.rand(60, generator=torch.Generator().manual_seed(3)).double()
    values = formula(squared_distances(x.double().numpy(), x.double().numpy()))
    covered = values[list(centers)].max(axis=0) if centers else np.zeros(60)
    picks, gains = naive_greedy(values[candidates], weights.numpy(), covered, 30)
    for chunk_bytes in (2**10, 2**14, 2**28):
        engine = kernel_of(x, function, candidates, chunk_bytes=chunk_bytes)
        before = engine.covered(torch.tensor(centers, dtype=torch.int64))
        np.testing.assert_allclose(before.numpy(), covered, rtol=1e-12)
        found = greedy_cover(engine, weights, before, 30)
        assert found.picks.tolist() == picks
        np.testing.assert_allclose(found.gains.numpy(), gains, rtol=1e-6, atol=1e-9)


def test_a_permuted_pool_gives_the_permuted_picks():
    x = unit(80, 6)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    weights = torch.rand(80, generator=torch.Generator().manual_seed(2)).double()
    zeros = torch.zeros(80).double()
    picks = greedy_cover(kernel_of(x, gaussian(1.0)), weights, zeros, 20).picks
    permuted = greedy_cover(kernel_of(x[order], gaussian(1.0)), weights[order], zeros, 20).picks
    assert torch.equal(order[permuted], picks)


def test_gains_never_rise_and_add_up_to_the_coverage():
    x = unit(300, 8)
    kernel = kernel_of(x, gaussian(0.8))
    weights = torch.rand(300, generator=torch.Generator().manual_seed(0)).double()
    found = greedy_cover(kernel, weights, torch.zeros(300).double(), 40)
    assert (found.gains.diff() <= 0).all()
    coverage = float(weights @ kernel.covered(found.picks))
    assert float(found.gains.double().sum()) == pytest.approx(coverage, rel=1e-5)


def test_bounds_are_never_below_the_kernel():
    x = 1.0001 * unit(200, 64)  # normalization is not exact either
    for function, formula in KERNELS.values():
        kernel = kernel_of(x, function)
        true = formula(squared_distances(x.double().numpy(), x.double().numpy()))
        values = kernel.upper(kernel.left(torch.arange(200)), slice(0, 200)).numpy()
        assert (values.astype(np.float64) >= true).all()
        np.testing.assert_allclose(values, true, atol=1e-3)


def test_lazy_choice_looks_at_few_candidates_again(monkeypatch):
    seen = SimpleNamespace(rows=0)
    bound = _greedy._Search._bound

    def count(self, positions):
        seen.rows += len(positions)
        bound(self, positions)

    monkeypatch.setattr(_greedy._Search, "_bound", count)
    x = unit(600, 16)
    start = kernel_of(x, gaussian(1.0)).covered(torch.arange(20))
    greedy_cover(kernel_of(x, gaussian(1.0)), torch.ones(600).double(), start, 100)
    assert seen.rows < 600 * 100 / 5


@pytest.mark.parametrize("name", datasets())
@pytest.mark.parametrize("number", [2, 9, 40])
def test_clusters_change_nothing(name, number):
    x = datasets()[name]
    ones, zeros = torch.ones(60).double(), torch.zeros(60).double()
    expected = greedy_cover(kernel_of(x, gaussian(0.7)), ones, zeros, 30)
    clusters = torch.randint(number, (60,), generator=torch.Generator().manual_seed(number))
    for some in (clusters, clusters.sort().values):
        found = greedy_cover(kernel_of(x, gaussian(0.7), clusters=some), ones, zeros, 30)
        assert found.picks.tolist() == expected.picks.tolist()


def test_features_must_be_finite():
    x = unit(20, 3)
    x[4, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        greedy_cover(kernel_of(x, cosine()), torch.ones(20).double(), torch.zeros(20).double(), 1)
