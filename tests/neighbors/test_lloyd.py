import numpy as np
import pytest
import torch

from dal_toolbox.neighbors import _lloyd, kmeans
from dal_toolbox.neighbors._lloyd import lloyd
from dal_toolbox.neighbors._seeds import seed_centroids


def rng(seed=0):
    return np.random.default_rng(seed)


def naive_lloyd(x, weights, centroids, iterations):
    for _ in range(iterations):
        nearest = ((x[:, None] - centroids) ** 2).sum(2).argmin(1)
        centroids = centroids.copy()
        for c in range(len(centroids)):
            if (nearest == c).any():
                centroids[c] = np.average(x[nearest == c], axis=0, weights=weights[nearest == c])
    return centroids


@pytest.mark.parametrize("seed", range(4))
def test_weighted_kmeans_equals_naive_from_the_same_seeds(seed, make, monkeypatch):
    monkeypatch.setattr(_lloyd, "SETTLED", 0)
    points = make("normal", n=80, d=3)
    weights = rng(seed).random(80) ** 3
    clusters = kmeans(points, 4, rng=rng(seed), weights=torch.from_numpy(weights))
    seeds = seed_centroids(points, torch.from_numpy(weights), 4, rng(seed))
    x = points.double().numpy()
    expected = naive_lloyd(x, weights, x[seeds], 20)
    np.testing.assert_allclose(clusters.centroids.numpy(), expected, atol=1e-5)
    squared = ((x[:, None] - expected) ** 2).sum(2).min(1)
    assert clusters.inertia == pytest.approx(squared @ weights, rel=1e-5)


def test_integer_weights_are_repetitions(make, monkeypatch):
    monkeypatch.setattr(_lloyd, "SETTLED", 0)
    points, repeats = make("normal", n=40, d=3), np.arange(40) % 3  # some are 0
    once = kmeans(points, 5, rng=rng(), weights=torch.from_numpy(repeats))
    many = kmeans(points[torch.from_numpy(np.repeat(np.arange(40), repeats))], 5, rng=rng())
    assert once.inertia == pytest.approx(many.inertia, rel=1e-5)
    for clusters in (once, many):
        clusters.centroids[:] = clusters.centroids[clusters.centroids[:, 0].argsort()]
    assert torch.allclose(once.centroids, many.centroids, atol=1e-6)


def test_few_items_with_a_weight_are_the_centroids(make):
    points = make("normal", n=10, d=3)
    weights = torch.zeros(10)
    weights[[4, 7]] = 0.5
    clusters = kmeans(points, 5, rng=rng(), weights=weights)
    assert torch.equal(clusters.centroids, points[[4, 7]])
    assert clusters.inertia == 0
    assert clusters.assignments[[4, 7]].tolist() == [0, 1]


def test_empty_clusters_move_to_the_worst_served_item():
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
    weights = torch.tensor([1, 1, 1, 1, 0.1], dtype=torch.float64)
    centroids, _ = lloyd(points, weights, points[[0, 0, 1]], 20)
    assert sorted(centroids.flatten().tolist()) == pytest.approx([0.5, 2, 10 + 1 / 11])


def test_growing_samples_lose_nothing(monkeypatch, make):
    points = make("normal", n=3000)
    grown = [kmeans(points, 20, rng=rng(i)).inertia for i in range(5)]
    monkeypatch.setattr(_lloyd, "SAMPLE", 10**6)
    whole = [kmeans(points, 20, rng=rng(i)).inertia for i in range(5)]
    assert np.mean(grown) < 1.02 * np.mean(whole)


@pytest.mark.parametrize("name", ["normal", "grid", "duplicates", "zeros"])
def test_seeds_are_distinct(name, make):
    rows = make(name, n=60, d=3).unique(dim=0)
    for k in (1, len(rows) // 2, len(rows)):
        seeds = seed_centroids(rows, torch.ones(len(rows)), k, rng())
        assert len(set(seeds.tolist())) == k


def test_seeds_hit_every_separate_group(make):
    points = 100 * make("normal", n=9, d=5)[torch.arange(180) % 9] + make("normal", n=180, d=5)
    for seed in range(5):
        seeds = seed_centroids(points, torch.ones(180), 9, rng(seed))
        assert len(set((seeds % 9).tolist())) == 9
