from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dal_toolbox.active_learning.strategies import _d2_sampling
from dal_toolbox.active_learning.strategies._d2_sampling import Proposals, d2_sample
from dal_toolbox.active_learning.strategies._products import Products
from dal_toolbox.seeding import generator


def products(n, C=3, d=4, *, seed=0, chunk_bytes=2**20, dtype=torch.float32):
    rng = generator(seed, "products")
    q = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, C))), dim=1).to(dtype)
    scales = torch.from_numpy(rng.lognormal(size=n))
    features = torch.from_numpy(rng.normal(size=(n + 5, d)).astype(np.float32))
    rows = torch.from_numpy(rng.permutation(n + 5)[:n])
    return Products(q, scales, features, rows, chunk_bytes)


def explicit(points):
    """g (n, C · d) in float64."""
    q = points.q.double() * points.scales[:, None]
    h = points.features[points.rows].double()
    return (q[:, :, None] * h[:, None, :]).flatten(1)


def squared_distances(points):
    g = explicit(points)
    return (g[:, None] - g[None]).square().sum(2)


def test_distances_equal_those_of_explicit_products():
    points = products(40)
    everything = torch.arange(40)
    found = points.squared_distances(everything, everything)
    torch.testing.assert_close(found, squared_distances(points), rtol=1e-9, atol=1e-12)
    assert torch.equal(found.diagonal(), torch.zeros(40, dtype=torch.float64))
    torch.testing.assert_close(points.norms, explicit(points).norm(dim=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("chunk_bytes", [2**9, 2**24])
def test_bounds_are_bounds_and_tight(dtype, chunk_bytes):
    points = products(300, C=20, d=30, dtype=dtype, chunk_bytes=chunk_bytes)
    points.q[200:250] = points.q[:50]  # near duplicates: float32 alone would lose D²
    points.features[points.rows[200:250]] = points.features[points.rows[:50]] * 1.001
    points = Products(points.q, points.scales, points.features, points.rows, chunk_bytes)
    points.scales[200:250] = points.scales[:50]
    points = Products(points.q, points.scales, points.features, points.rows, chunk_bytes)
    centers = [*range(40), 290]
    bounds = np.full(300, np.inf)
    points.shorten(bounds, centers[:7])
    points.shorten(bounds, centers[7:])
    true = squared_distances(points)[:, centers].amin(1).numpy()
    assert (bounds >= true * (1 - 1e-9)).all()
    assert (bounds <= 1.02 * true + 1e-15).all()
    assert (bounds[centers] == 0).all()


@pytest.mark.parametrize("patience", [1, 1000])
def test_sequences_have_the_probabilities_of_the_formula(patience, monkeypatch):
    monkeypatch.setattr(_d2_sampling, "PATIENCE", patience)
    points = products(6)
    distances = squared_distances(points).numpy()
    expected = {}
    for sequence in permutations(range(1, 6), 3):
        nearest, probability = distances[0], 1.0
        for item in sequence:
            probability *= nearest[item] / nearest.sum()
            nearest = np.minimum(nearest, distances[item])
        expected[sequence] = probability
    rng = generator(patience, "draws")
    counts = dict.fromkeys(expected, 0)
    for _ in range(800):
        counts[tuple(d2_sample(points, 0, 4, rng)[1:].tolist())] += 1
    many = [s for s in expected if expected[s] * 800 >= 5]
    rest = 800 - sum(counts[s] for s in many)
    observed = [*(counts[s] for s in many), rest]
    probabilities = np.array([expected[s] for s in many])
    total = [*(800 * probabilities), 800 * (1 - probabilities.sum())]
    assert chisquare(observed, total).pvalue > 1e-3


def test_stale_bounds_draw_as_fresh_ones_do(monkeypatch):
    """The last of 12 picks of 40 has the same distribution, however seldom bounds are renewed."""
    points = products(40)
    counts = []
    for patience in (1, 10**6):
        monkeypatch.setattr(_d2_sampling, "PATIENCE", patience)
        rng = generator(patience, "stale")
        last = [int(d2_sample(points, 3, 12, rng)[-1]) for _ in range(200)]
        counts.append(np.bincount(last, minlength=40))
    counts = np.array(counts)[:, np.sum(counts, axis=0) >= 10]
    expected = counts.sum(0) / 2
    assert chisquare(counts.ravel(), np.tile(expected, 2), ddof=counts.shape[1]).pvalue > 1e-3


def test_far_items_are_certain():
    """Two far clusters and two picks: one in each."""
    features = (
        torch.tensor([[1.0, 0.0]] * 20 + [[-1e4, 0.0]] * 20) + torch.linspace(0, 1e-3, 40)[:, None]
    )
    points = Products(torch.ones(40, 1), torch.ones(40).double(), features, torch.arange(40), 2**20)
    for seed in range(20):
        assert d2_sample(points, 5, 2, generator(seed, "far"))[1] >= 20


def test_duplicates_come_last_and_uniformly():
    base = products(10)
    q, rows = base.q.repeat(4, 1), base.rows.repeat(4)
    points = Products(q, base.scales.repeat(4), base.features, rows, 2**20)
    counts = np.zeros(40)
    for seed in range(120):
        picks = d2_sample(points, 7, 20, generator(seed, "duplicates"))
        assert set(picks[:10] % 10) == set(range(10))
        assert len(set(picks)) == 20
        counts[picks[10:]] += 1
    others = counts[np.arange(40) % 10 != 7]  # of the first pick fewer are left
    assert abs(others - 30).max() < 6 * np.sqrt(30)


def test_a_queue_that_is_too_short_is_filled_again(monkeypatch):
    monkeypatch.setattr(_d2_sampling, "QUEUE", 3)
    picks = d2_sample(products(50), 0, 50, generator(0, "queue"))
    assert sorted(picks.tolist()) == list(range(50))


def test_proposals_follow_the_weights(monkeypatch):
    monkeypatch.setattr(_d2_sampling, "QUEUE", 4)
    weights = np.array([1.0, 2.0, 0.0, 4.0, 8.0, 0.5, 3.0])
    rng = generator(0, "proposals")
    counts = np.zeros(7)
    while counts.sum() < 7000:
        for position in Proposals(weights.copy(), rng):
            counts[position] += 1
            break  # the length of a queue depends on what is drawn
    assert counts[2] == 0
    positive = weights > 0
    expected = counts.sum() * weights[positive] / weights.sum()
    assert chisquare(counts[positive], expected).pvalue > 1e-3


def test_consecutive_proposals_are_independent():
    weights = np.array([1.0, 2.0, 4.0])
    rng = generator(0, "consecutive")
    pairs = np.zeros((3, 3))
    for _ in range(5000):
        stream = Proposals(weights.copy(), rng)
        pairs[next(stream), next(stream)] += 1
    expected = 5000 * np.outer(weights, weights) / weights.sum() ** 2
    assert chisquare(pairs.ravel(), expected.ravel()).pvalue > 1e-3


def test_features_must_be_finite():
    points = products(10)
    points.features[points.rows[3], 0] = torch.inf
    with pytest.raises(ValueError, match="NaN"):
        Products(points.q, points.scales, points.features, points.rows, 2**20)
