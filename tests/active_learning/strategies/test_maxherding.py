import logging

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies.maxherding import MaxHerding


def reference(x, labeled, unlabeled, n, sigma=1.0):
    """The published greedy choice over the whole kernel matrix in float64."""
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=2) / sigma**2)
    covered = kernel[:, labeled].max(axis=1, initial=0.0)
    picks = []
    for _ in range(n):
        gains = np.maximum(kernel[:, unlabeled] - covered[:, None], 0).sum(axis=0)
        gains = gains.astype(np.float32)  # the last two of a pair gain the same, up to rounding
        gains[np.isin(unlabeled, picks)] = -1
        picks.append(int(unlabeled[gains.argmax()]))
        covered = np.maximum(covered, kernel[:, picks[-1]])
    return picks


@pytest.mark.parametrize("labeled", [(), (3,), (0, 1, 2, 10, 11)])
@pytest.mark.parametrize("sigma", [1.0, 0.4])
def test_picks_equal_the_reference(labeled, sigma):
    features, targets = blobs(60)
    situation = Situation(features, labeled, tuple(targets[list(labeled)].tolist()))
    context = situation.context(PosteriorClassifier)
    x = context.normalized.double().numpy()
    expected = reference(x, list(labeled), context.unlabeled, 20, sigma)
    assert MaxHerding(sigma=sigma).query(context, 20).tolist() == expected


def test_digits_equal_the_reference():
    features = torch.from_numpy(load_digits().data[:500]).float()
    context = Situation(features, (5, 9), (0, 1), 10).context(PosteriorClassifier)
    x = context.normalized.double().numpy()
    expected = reference(x, [5, 9], context.unlabeled, 30)
    assert MaxHerding().query(context, 30).tolist() == expected


def test_items_that_may_not_be_chosen_are_covered_too():
    features, _ = blobs(60)
    context = Situation(features).context(PosteriorClassifier)
    some = context.restrict(np.arange(0, 60, 2))
    x = context.normalized.double().numpy()
    expected = reference(x, [], some.unlabeled, 10)
    assert MaxHerding().query(some, 10).tolist() == expected


def test_one_pick_for_each_of_well_separated_clusters():
    centers = torch.eye(6).repeat_interleave(10, dim=0)
    noise = 0.01 * torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    context = Situation(centers + noise).context(PosteriorClassifier)
    picks = MaxHerding(sigma=0.5).query(context, 6)
    assert sorted(picks // 10) == list(range(6))


def test_limits_are_logged_and_keep_the_contract(caplog):
    features, _ = blobs(200)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = MaxHerding(max_targets=50, max_candidates=30).query(
            Situation(features).context(PosteriorClassifier), 40
        )
    assert len(set(picks.tolist())) == 40  # n lifts the limit of the candidates
    assert "maxherding: coverage is measured on 50 of 200 items (max_targets)" in caplog.text
    assert "maxherding: items are chosen from 40 of 200 items (max_candidates)" in caplog.text


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"max_targets": 0}, {"max_candidates": -1}])
def test_wrong_hyperparameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MaxHerding(**wrong)
