import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies import typiclust
from dal_toolbox.active_learning.strategies.typiclust import TypiClust, typicality
from dal_toolbox.neighbors import kmeans


def naive_typicality(x: np.ndarray, k: int) -> np.ndarray:
    values = []
    for i in range(len(x)):
        squared = sorted(((x[i] - x[j]) ** 2).sum() for j in range(len(x)) if j != i)
        values.append(1 / (np.mean(squared[:k]) + 1e-5))
    return np.array(values)


def reference(context, clusters: np.ndarray, n: int, max_neighbors: int = 20) -> list[int]:
    """The published procedure, item by item, for clusters that do not run out."""
    x = context.normalized.double().numpy()
    labels = clusters.copy()
    table = []
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        if len(members) > 5:
            table.append((np.isin(members, context.labeled).sum(), -len(members), cluster))
    order = [cluster for *_, cluster in sorted(table)]
    labels[context.labeled] = -1
    picks = []
    for i in range(n):
        members = np.flatnonzero(labels == order[i % len(order)])
        scores = naive_typicality(x[members], min(max_neighbors, len(members) // 2))
        picks.append(int(members[scores.argmax()]))
        labels[picks[-1]] = -1
    return picks


@pytest.fixture
def fixed_clusters(monkeypatch):
    """Lets a test see the clusters that the strategy worked with."""
    seen = []

    def remember(*args, **options):
        seen.append(kmeans(*args, **options))
        return seen[-1]

    monkeypatch.setattr(typiclust, "kmeans", remember)
    return seen


@pytest.mark.parametrize("labeled", [(), (3,), (0, 1, 2, 10, 11)])
@pytest.mark.parametrize("n", [1, 4, 9])
def test_picks_equal_the_reference(labeled, n, fixed_clusters):
    features, targets = blobs(150)
    situation = Situation(features, labeled, tuple(targets[list(labeled)].tolist()))
    context = situation.context(PosteriorClassifier)
    picks = TypiClust().query(context, n)
    clusters = fixed_clusters[0].assignments.numpy()
    assert len(fixed_clusters[0].centroids) == len(labeled) + n
    assert picks.tolist() == reference(context, clusters, n)


def test_more_picks_than_clusters_go_round(fixed_clusters):
    features, _ = blobs(150)
    context = Situation(features).context(PosteriorClassifier)
    picks = TypiClust(max_clusters=3, num_neighbors=7).query(context, 20)
    clusters = fixed_clusters[0].assignments.numpy()
    assert len(fixed_clusters[0].centroids) == 3
    assert picks.tolist() == reference(context, clusters, 20, max_neighbors=7)
    assert np.bincount(clusters[picks]).min() >= 6


def test_small_clusters_come_last(monkeypatch):
    clusters = torch.tensor([0] * 20 + [1] * 12 + [2] * 3 + [3] * 2)
    monkeypatch.setattr(typiclust, "kmeans", lambda *_, **__: SimpleNamespace(assignments=clusters))
    context = Situation(blobs(37)[0]).context(PosteriorClassifier)
    picks = TypiClust(max_clusters=4).query(context, 37)
    assert sorted(picks.tolist()) == list(range(37))
    assert set(picks[:32].tolist()) == set(range(32))
    assert picks[32] in range(32, 35)  # the larger of the small clusters
    assert picks[33] in range(35, 37)


@pytest.mark.parametrize("k", [1, 4, 15])
def test_typicality_equals_naive(k):
    x = torch.randn(31, 5, generator=torch.Generator().manual_seed(1))
    expected = naive_typicality(x.double().numpy(), k)
    values = typicality(x[3:9], x, k, chunk_bytes=2**20)
    np.testing.assert_allclose(values.numpy(), expected[3:9], rtol=1e-5)


def test_typicality_of_duplicates_is_finite_and_equal():
    x = torch.ones(6, 3)
    values = typicality(x, x, 3, chunk_bytes=2**20)
    assert values.tolist() == pytest.approx([1e5] * 6)
    assert values.unique().numel() == 1


@pytest.mark.parametrize("entries", [70, 2**19])
@pytest.mark.parametrize("noise", [1e-4, 1.0])
def test_a_cluster_gives_its_items_in_turn(noise, entries, monkeypatch):
    """Also where float32 cannot tell them apart, and beyond the spare neighbors."""
    monkeypatch.setattr(typiclust, "ENTRIES", entries)
    rng = np.random.default_rng(0)
    x = rng.normal(size=8) + noise * rng.normal(size=(60, 8))
    x = torch.nn.functional.normalize(torch.from_numpy(x), dim=1).float()
    turns = TypiClust(num_neighbors=7)._in_turn(x, np.arange(60), 2**20)
    left = list(range(60))
    for pick in turns:
        k = min(7, len(left) // 2)
        scores = naive_typicality(x[left].double().numpy(), k) if k else np.ones(1)
        assert scores[left.index(pick)] == pytest.approx(scores.max(), rel=1e-6)
        left.remove(pick)
    assert not left


def test_a_subset_trains_large_pools(monkeypatch, caplog):
    monkeypatch.setattr(typiclust, "TRAIN_ITEMS", 80)
    monkeypatch.setattr(typiclust, "TRAIN_ITEMS_PER_CLUSTER", 2)
    context = Situation(blobs(150)[0]).context(PosteriorClassifier)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = TypiClust().query(context, 8)
    assert "80 of 150 items train 8 centroids" in caplog.text
    assert len(set(picks.tolist())) == 8
