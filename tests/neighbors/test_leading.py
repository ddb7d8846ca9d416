import numpy as np
import pytest
import torch

from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import _leading, center_finder, kmeans, nearest_center
from dal_toolbox.neighbors._leading import Leading


@pytest.fixture(autouse=True)
def _try_small_problems(monkeypatch):
    monkeypatch.setattr(_leading, "SMALLEST", 0)


def items_in_few_directions(n, d=64, *, noise=0.01, mean=0.0, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 4)) @ rng.normal(size=(4, d))
    return torch.from_numpy(latent + noise * rng.normal(size=(n, d)) + mean).float()


@pytest.mark.parametrize("noise", [0, 1e-3, 0.1])
@pytest.mark.parametrize("mean", [0, 100])
@pytest.mark.parametrize("scale", [1e-10, 1, 1e10])
def test_equals_brute_force(noise, mean, scale, brute_force):
    items = scale * items_in_few_directions(3000, noise=noise, mean=mean)
    centers = torch.cat([items[:30], items[10:20], (items[:10] + items[10:20]) / 2])  # and equals
    leading = Leading.of(items, centers, len(items))
    assert leading is not None
    expected = brute_force(items, centers.double(), 1)[1].squeeze(1)
    assert torch.equal(leading.nearest(items, centers), expected)
    assert torch.equal(leading.nearest(items[7:], centers, leading.short(items)[7:]), expected[7:])
    found = leading.decide(leading.short(items), centers)
    assert torch.equal(found[0][found[1]], expected[found[1]])
    if mean == 0:
        assert found[1].float().mean() > 0.5  # most items need no more


@pytest.mark.parametrize("q", [1, 3, 60, 64])
def test_any_axes_and_origin_are_correct(q, brute_force):
    items = items_in_few_directions(2000, noise=1.0)
    centers = items[:40] + 1e-4 * items[40:80]
    axes = torch.linalg.qr(torch.randn(64, q, dtype=torch.float64)).Q
    leading = Leading(items[99].double(), axes)
    expected = brute_force(items, centers.double(), 1)[1].squeeze(1)
    assert torch.equal(leading.nearest(items, centers), expected)


def test_the_rest_is_never_too_short():
    items = items_in_few_directions(2000, d=512, noise=1e-4, mean=3.0)
    leading = Leading.of(items, items[:50], len(items))
    rows = items.double() - leading.origin
    rest = (rows - rows @ leading.axes @ leading.axes.T).norm(dim=1)
    short = leading.short(items).double()
    assert (short[:, -1] >= rest).all()
    drift = (short[:, :-1] - rows @ leading.axes).norm(dim=1) / rows.norm(dim=1)
    assert drift.max() < leading.axes.shape[1] ** 0.5 * leading._rounding


def test_items_of_all_directions_are_not_worth_it():
    items = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 64))).float()
    assert Leading.of(items, items[:50], len(items)) is None
    find = center_finder(items, items[:50], len(items))
    assert torch.equal(find(items), nearest_center(items, items[:50]))


def test_kmeans_is_the_same_without(monkeypatch):
    items = items_in_few_directions(5000, noise=0.1)
    clusters = kmeans(items, 20, rng=np.random.default_rng(0))
    monkeypatch.setattr(_leading, "WORTH", 0)
    plain = kmeans(items, 20, rng=np.random.default_rng(0))
    assert torch.equal(clusters.centroids, plain.centroids)
    assert torch.equal(clusters.assignments, plain.assignments)


def test_nan_is_refused():
    items = items_in_few_directions(2000)
    leading = Leading.of(items, items[:50], len(items))
    items[5, 3] = torch.nan
    with pytest.raises(UserError, match="NaN"):
        leading.nearest(items, items[10:50])
