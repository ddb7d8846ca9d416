import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import blobs
from dal_toolbox.active_learning.strategies import _lloyd
from dal_toolbox.active_learning.strategies._lloyd import nearest_center, weighted_kmeans
from dal_toolbox.neighbors.kmeans import seed_centroids
from dal_toolbox.seeding import generator


def naive_lloyd(x, weights, centroids, iterations):
    for _ in range(iterations):
        nearest = ((x[:, None] - centroids) ** 2).sum(2).argmin(1)
        centroids = centroids.copy()
        for c in range(len(centroids)):
            if (nearest == c).any():
                centroids[c] = np.average(x[nearest == c], axis=0, weights=weights[nearest == c])
    return centroids


@pytest.mark.parametrize("seed", range(4))
def test_weighted_kmeans_equals_naive_from_the_same_seeds(seed):
    rng = np.random.default_rng(seed)
    features = blobs(80, d=3)[0]
    weights = rng.random(80) ** 3
    centroids = weighted_kmeans(features.numpy(), weights, 4, rng=generator(seed))
    seeds = seed_centroids(features, torch.from_numpy(weights), 4, generator(seed))
    x = features.double().numpy()
    expected = naive_lloyd(x, weights, x[seeds], 20)
    np.testing.assert_allclose(centroids, expected, atol=1e-5)


def test_integer_weights_are_repetitions():
    features, repeats = blobs(40, d=3)[0], np.arange(40) % 3  # some are 0
    once = weighted_kmeans(features.numpy(), repeats.astype(float), 5, rng=generator(0))
    many = features[torch.from_numpy(np.repeat(np.arange(40), repeats))]
    ones = np.ones(len(many))
    repeated = weighted_kmeans(many.numpy(), ones, 5, rng=generator(0))
    np.testing.assert_allclose(once, repeated, atol=1e-6)


def test_weighted_kmeans_moves_empty_clusters_to_the_worst_served_item(monkeypatch):
    features = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
    weights = np.array([1, 1, 1, 1, 0.1])
    monkeypatch.setattr(_lloyd, "seed_centroids", lambda *_: torch.tensor([0, 0, 1]))
    centroids = weighted_kmeans(features.numpy(), weights, 3, rng=generator(0))
    assert sorted(centroids.flatten().tolist()) == pytest.approx([0.5, 2, 10 + 1 / 11])


@pytest.mark.parametrize("entries", [10, 2**20])
@pytest.mark.parametrize("small", [0, 2**20])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_nearest_center_equals_brute_force(entries, small, scale, monkeypatch):
    monkeypatch.setattr(_lloyd, "ENTRIES", entries)
    monkeypatch.setattr(_lloyd, "SMALL", small)
    rng = np.random.default_rng(0)
    items = (scale * rng.normal(size=(300, 6))).astype(np.float32)
    centers = scale * rng.normal(size=(20, 6))
    centers[7] = centers[3]  # equals: the lower one
    expected = ((items[:, None] - centers) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(nearest_center(items, centers), expected)
    assert not (expected == 7).any()


def test_nearest_center_tells_what_float32_cannot():
    """2000 × 5 entries: the way through float32."""
    rng = np.random.default_rng(0)
    items = rng.normal(size=(2000, 64)).astype(np.float32)
    center = rng.normal(size=64)
    centers = np.stack([center + 1e-5 * rng.normal(size=64) for _ in range(5)])
    expected = ((items[:, None].astype(float) - centers) ** 2).sum(2).argmin(1)
    found = nearest_center(items, centers)
    naive = (items @ centers.astype(np.float32).T).argmax(1)
    assert (found == expected).mean() > 0.95 > (naive == expected).mean()
