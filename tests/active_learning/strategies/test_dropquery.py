import logging

import numpy as np
import pytest

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick, fill_at_random
from dal_toolbox.active_learning.strategies.dropquery import DropQuery, draw_mask


def situation(n=60):
    features, targets = blobs(n)
    features = features + 1.5 * features.roll(1, 0)  # less easy
    return Situation(features, tuple(range(10)), tuple(targets[:10].tolist()))


def naive_changes(context, num_masks, dropout, rng):
    """The logistic regression written out, mask by mask, with the same random numbers."""
    head = context.classifier.linear
    weight, bias = head.weight_.numpy(), head.bias_.numpy()

    def predict(x):
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        return (x / np.where(norms > 0, norms, 1) @ weight + bias).argmax(1)

    x = context.features[context.unlabeled].double().numpy()
    masks = [draw_mask(rng, x.shape, dropout) for _ in range(num_masks)]
    return sum((predict(x * mask / (1 - dropout)) != predict(x)).astype(int) for mask in masks)


@pytest.mark.parametrize(("num_masks", "dropout"), [(3, 0.75), (5, 0.5), (1, 0.9)])
def test_changes_equal_naive_given_the_same_masks(num_masks, dropout):
    context, other = (situation().context(PosteriorClassifier) for _ in range(2))
    changes = DropQuery(num_masks=num_masks, dropout=dropout).changes(context)
    np.testing.assert_array_equal(changes, naive_changes(other, num_masks, dropout, other.rng))
    assert 0 < (changes > 0).sum() < len(changes)


@pytest.mark.parametrize("dropout", [0.0, 0.25, 0.75, 0.9])
def test_masks_drop_their_share_independently(dropout):
    dropped = ~draw_mask(np.random.default_rng(0), (301, 333), dropout)
    n, deviation = dropped.size, (dropout * (1 - dropout)) ** 0.5
    assert abs(dropped.mean() - dropout) <= 4 * deviation / n**0.5 + 2**-16
    for shift in range(1, 5):
        both = (dropped[:, shift:] & dropped[:, :-shift]).mean()
        assert abs(both - dropout**2) <= 6 * deviation / n**0.5 + 2**-15


def test_candidates_are_relaxed_step_by_step():
    changes = np.array([0, 0, 1, 1, 1, 2, 2, 3])
    for per_pick, expected in [(3, 3), (4, 6), (9, 6)]:
        strategy = DropQuery(candidates_per_pick=per_pick)
        assert strategy.select(changes, 1).sum() == expected
        np.testing.assert_array_equal(
            strategy.select(changes, 1), changes >= (2 if expected == 3 else 1)
        )
    assert DropQuery(num_masks=4, candidates_per_pick=1).select(changes, 1).tolist() == [
        False
    ] * 7 + [True]


@pytest.mark.parametrize("n", [4, 50])
def test_picks_equal_the_parts(n):
    """Candidates by the naive count, clustered, and filled up at random."""
    context, other = (situation().context(PosteriorClassifier) for _ in range(2))
    candidates = other.unlabeled[naive_changes(other, 3, 0.75, other.rng) >= 1]
    assert 4 < len(candidates) < 50  # so that 50 must be filled up
    expected = fill_at_random(other, cluster_pick(other, candidates, n), n)
    assert DropQuery(candidates_per_pick=10**6).query(context, n).tolist() == expected.tolist()


def test_cold_start_clusters_everything(caplog):
    cold = situations()["cold start"]
    other = cold.context(PosteriorClassifier)
    expected = cluster_pick(other, other.unlabeled, 5)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        assert DropQuery().query(cold.context(PosteriorClassifier), 5).tolist() == expected.tolist()
    assert "all items are candidates" in caplog.text


@pytest.mark.parametrize("options", [{"num_masks": 0}, {"dropout": 1.0}])
def test_bad_arguments(options):
    with pytest.raises(ValueError, match="must be"):
        DropQuery(**options)
