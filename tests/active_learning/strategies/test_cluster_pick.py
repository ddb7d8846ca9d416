import logging

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies import _cluster_pick, _predictions
from dal_toolbox.active_learning.strategies._cluster_pick import (
    cluster,
    cluster_pick,
    fill_at_random,
    take_turns,
)
from dal_toolbox.active_learning.strategies._predictions import logit_blocks, reduce_logits


def make_context(features, **options):
    return Situation(features).context(PosteriorClassifier, **options)


def naive_turns(assignments, sizes, keys, n):
    """One pick at a time: rounds over the clusters, large ones first."""
    left = {
        c: sorted(np.flatnonzero(assignments == c), key=lambda i: (keys[i], i)) for c in assignments
    }
    picks = []
    while len(picks) < n:
        for c in sorted(left, key=lambda c: (-sizes[c], c)):
            if left[c] and len(picks) < n:
                picks.append(int(left[c].pop(0)))
    return picks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 7, 40])
def test_take_turns_equals_naive(seed, n):
    rng = np.random.default_rng(seed)
    assignments = rng.integers(6, size=40)
    sizes = np.bincount(assignments, minlength=8).astype(float)  # clusters may be empty
    keys = rng.integers(4, size=40)  # with ties
    assert take_turns(assignments, sizes, keys, n).tolist() == naive_turns(
        assignments, sizes, keys, n
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_picks_equal_naive_given_the_same_centroids(weighted):
    features, _ = blobs(60)
    candidates = np.arange(3, 60, 2)
    weights = np.random.default_rng(0).random(len(candidates)) if weighted else None
    clusters = cluster(make_context(features), candidates, 6, weights=weights)
    x = features.double().numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    centroids = clusters.centroids.double().numpy()
    squared = ((x[candidates][:, None] - centroids) ** 2).sum(2)
    nearest = squared.argmin(1)
    mass = np.ones(len(candidates)) if weights is None else weights
    sizes = [mass[nearest == c].sum() for c in range(6)]
    expected = []
    for c in np.argsort(np.negative(sizes), kind="stable"):
        members = np.flatnonzero(nearest == c)
        expected.append(int(candidates[members[np.sqrt(squared[members, c]).round(6).argmin()]]))
    np.testing.assert_array_equal(clusters.assignments, nearest)
    picks = cluster_pick(make_context(features), candidates, 6, weights=weights)
    assert picks.tolist() == expected


def test_all_candidates_are_picked_where_more_are_asked_for():
    context, candidates = make_context(blobs(60)[0]), np.array([4, 8, 15])
    assert cluster_pick(context, candidates, 3).tolist() == [4, 8, 15]
    assert cluster_pick(context, candidates, 9).tolist() == [4, 8, 15]
    assert cluster_pick(context, candidates, 0).tolist() == []


@pytest.mark.parametrize("weighted", [False, True])
def test_few_distinct_items_take_turns(weighted):
    features = blobs(5)[0].repeat(4, 1)
    weights = np.ones(20) if weighted else None
    picks = cluster_pick(make_context(features), np.arange(20), 12, weights=weights)
    assert len(set(picks.tolist())) == 12
    assert sorted(set((picks[:5] % 5).tolist())) == list(range(5))
    assert picks[:5].max() < 5  # of equal items the first
    assert np.bincount(picks % 5).max() == 3


@pytest.mark.parametrize("weighted", [False, True])
def test_a_permuted_pool_gives_permuted_picks(weighted, monkeypatch):
    """Where the first centroids are the same: as many clusters as there are well separated ones."""
    rng = np.random.default_rng(0)
    centers = np.eye(5)[np.arange(60) % 5]
    features = torch.from_numpy(centers + 0.02 * rng.normal(size=(60, 5))).float()
    weights = rng.random(60) + 0.5 if weighted else None
    order = rng.permutation(60)
    moved = None if weights is None else weights[order]
    picks = cluster_pick(make_context(features), np.arange(60), 5, weights=weights)
    other = cluster_pick(
        make_context(features[torch.from_numpy(order)]), np.arange(60), 5, weights=moved
    )
    assert set(order[other].tolist()) == set(picks.tolist())


def test_a_subset_trains_large_pools_and_chunks_do_not_matter(monkeypatch, caplog):
    monkeypatch.setattr(_cluster_pick, "TRAIN_ITEMS", 50)
    monkeypatch.setattr(_cluster_pick, "TRAIN_ITEMS_PER_CLUSTER", 2)
    features, _ = blobs(300)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = cluster_pick(make_context(features), np.arange(300), 9)
    assert "50 of 300 items train 9 centroids" in caplog.text
    assert len(set(picks.tolist())) == 9
    monkeypatch.setattr(_cluster_pick, "BLOCK", 7)
    again = cluster_pick(make_context(features, chunk_bytes=2**12), np.arange(300), 9)
    assert again.tolist() == picks.tolist()


def test_random_fill_adds_other_items(caplog):
    context = make_context(blobs(12)[0])
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = fill_at_random(context, np.array([5, 3]), 6)
    assert picks[:2].tolist() == [5, 3]
    assert len(set(picks.tolist())) == 6
    assert "4 of 6 items are drawn at random" in caplog.text
    assert fill_at_random(context, np.array([5, 3]), 2).tolist() == [5, 3]


def test_blocks_give_the_logits_of_the_context(monkeypatch):
    features, targets = blobs(60)
    situation = Situation(features, (3, 4, 5), tuple(targets[3:6].tolist()))
    expected = situation.context(PosteriorClassifier).logits
    monkeypatch.setattr(_predictions, "ROWS", 7)
    context = situation.context(PosteriorClassifier)
    indices, logits = zip(*logit_blocks(context), strict=True)
    assert torch.equal(torch.cat(logits), expected)
    assert np.concatenate(indices).tolist() == context.unlabeled.tolist()
    assert "logits" not in context.__dict__  # nothing of shape (N, C) is kept
    top = reduce_logits(context, lambda block: block.amax(dim=1))
    assert torch.equal(torch.from_numpy(top).float(), expected.amax(dim=1))
    assert len(context.logits) == 57
    assert torch.equal(torch.cat([block for _, block in logit_blocks(context)]), expected)
