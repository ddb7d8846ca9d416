import logging

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies.discriminative import (
    Discriminative,
    logistic_regression,
)


def sklearn_scores(x, known, sample, others, l2):
    """Balanced logistic regression on [x; 1]; how unlabeled-like the others are."""
    rows = np.concatenate([known, sample])
    y = np.repeat([0, 1], [len(known), len(sample)])
    model = LogisticRegression(
        C=1 / l2,
        fit_intercept=False,
        class_weight="balanced",
        tol=1e-12,
        max_iter=10000,
        solver="newton-cholesky",
    )
    padded = np.pad(x, ((0, 0), (0, 1)), constant_values=1.0)
    model.fit(padded[rows], y)
    return padded[others] @ model.coef_[0]


def reference(context, n, num_batches, factor, l2):
    x = context.features.double().numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    picks = []
    for step in np.array_split(np.arange(n), num_batches):
        if len(step) == 0:
            continue
        known = np.array([*context.labeled, *picks])
        others = np.array([i for i in context.unlabeled if i not in picks])
        sample = context.rng.choice(others, min(factor * len(known), len(others)), replace=False)
        scores = sklearn_scores(x, known, sample, others, l2)
        picks += others[np.argsort(-scores, kind="stable")[: len(step)]].tolist()
    return picks


@pytest.mark.parametrize(
    ("n", "num_batches", "factor"), [(10, 10, 10), (10, 3, 2), (4, 10, 1), (12, 1, 10)]
)
@pytest.mark.parametrize("d", [8, 200])
def test_picks_equal_scikit_learn(n, num_batches, factor, d):
    features, targets = blobs(60, d=d)
    situation = Situation(features, (0, 1, 2, 3), tuple(targets[:4].tolist()))
    context, other = (situation.context(PosteriorClassifier) for _ in range(2))
    strategy = Discriminative(num_batches=num_batches, unlabeled_factor=factor)
    assert strategy.query(context, n).tolist() == reference(other, n, num_batches, factor, 0.01)


@pytest.mark.parametrize(("n", "d"), [(30, 5), (10, 40)])
def test_logistic_regression_has_no_gradient_left(n, d):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.where(torch.rand(n, generator=generator) < 0.3, 1.0, -1.0).double()
    importance = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    w = logistic_regression(x, y, importance, 0.1).requires_grad_()
    loss = (importance * torch.log1p(torch.exp(-y * (x @ w)))).sum() + 0.05 * w.square().sum()
    loss.backward()
    assert w.grad.abs().max() < 1e-4


def test_unlabeled_regions_come_first():
    """Two clusters, labels in one of them: all picks lie in the other until it is covered."""
    rng = np.random.default_rng(0)
    groups = np.arange(40) % 2
    x = np.array([[3.0, 0.0], [0.0, 3.0]])[groups] + 0.3 * rng.normal(size=(40, 2))
    situation = Situation(torch.from_numpy(x).float(), (0, 2, 4), (0, 0, 0))
    picks = Discriminative(num_batches=2).query(situation.context(PosteriorClassifier), 6)
    assert set(groups[picks[:3]]) == {1}


def test_cold_start_is_random_once(caplog):
    context = situations()["cold start"].context(PosteriorClassifier)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = Discriminative(num_batches=4).query(context, 8)
    assert caplog.text.count("drawn at random") == 1
    other = situations()["cold start"].context(PosteriorClassifier)
    assert picks[:2].tolist() == other.rng.permutation(60)[:2].tolist()


def test_blocks_do_not_matter(monkeypatch):
    from dal_toolbox.active_learning.strategies import discriminative

    ordinary = situations()["ordinary"]
    expected = Discriminative().query(ordinary.context(PosteriorClassifier), 12)
    monkeypatch.setattr(discriminative, "BLOCK", 7)
    picks = Discriminative().query(ordinary.context(PosteriorClassifier), 12)
    assert picks.tolist() == expected.tolist()


def test_many_labels_are_subsampled(monkeypatch, caplog):
    from dal_toolbox.active_learning.strategies import discriminative

    monkeypatch.setattr(discriminative, "MAX_ROWS", 5)
    context = situations()["ordinary"].context(PosteriorClassifier)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        assert len(set(Discriminative().query(context, 4).tolist())) == 4
    assert "5 of 10 labeled items" in caplog.text


def test_bad_arguments():
    with pytest.raises(ValueError, match="l2=0"):
        Discriminative(l2=0)
