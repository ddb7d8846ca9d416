import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.classifiers import linear
from dal_toolbox.classifiers._lbfgs import minimize
from dal_toolbox.classifiers.linear import LinearClassifier


def problem(n, d, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, n - num_classes)])
    centers = rng.normal(size=(num_classes, d))
    features = centers[labels] + rng.normal(size=(n, d))
    return torch.from_numpy(features), torch.from_numpy(labels)


@pytest.mark.parametrize("shape", [(200, 10, 4), (20, 100, 4), (30, 30, 3), (300, 5, 7)])
@pytest.mark.parametrize("l2", [0.01, 1.0])
@pytest.mark.parametrize("normalize", [True, False])
def test_equals_scikit_learn(shape, l2, normalize):
    from sklearn.linear_model import LogisticRegression

    features, labels = problem(*shape)
    ours = LinearClassifier(shape[2], l2=l2, normalize=normalize).fit(features, labels)
    x = F.normalize(features, dim=1) if normalize else features
    x = F.pad(x, (0, 1), value=1.0).numpy()
    theirs = LogisticRegression(C=1 / l2, fit_intercept=False, tol=1e-7, max_iter=10000)
    theirs.fit(x, labels.numpy())
    np.testing.assert_allclose(ours.weight_.T.numpy(), theirs.coef_[:, :-1], atol=1e-3)
    np.testing.assert_allclose(ours.bias_.numpy(), theirs.coef_[:, -1], atol=1e-3)
    expected = theirs.predict_proba(x)
    np.testing.assert_allclose(ours.probabilities(features).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 64, 10), (60, 3, 5), (1, 20, 3)])
def test_the_gradient_vanishes(shape):
    n, d, num_classes = shape
    features = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(n) % num_classes
    model = LinearClassifier(num_classes, l2=0.05, normalize=False).fit(features, labels)
    weight = torch.cat([model.weight_, model.bias_[None]]).requires_grad_()
    x = F.pad(features, (0, 1), value=1.0)
    loss = F.cross_entropy(x @ weight, labels, reduction="sum") + 0.05 / 2 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(200, 10, 4), (60, 30, 5), (60, 100, 5)])
@pytest.mark.parametrize(("scale", "offset"), [(1e2, 0), (1e4, 0), (1e4, 1e4), (1e-4, 0)])
def test_the_scale_of_features_does_not_keep_it_from_the_minimum(shape, scale, offset, caplog):
    from sklearn.linear_model import LogisticRegression

    features, labels = problem(*shape)
    features = scale * features + offset
    x = F.pad(features, (0, 1), value=1.0)
    theirs = LogisticRegression(
        C=100, fit_intercept=False, tol=1e-10, max_iter=10000, solver="newton-cholesky"
    ).fit(x.numpy(), labels.numpy())

    def objective(weight):
        fit = F.cross_entropy(x @ weight, labels, reduction="sum")
        return float(fit + 0.01 / 2 * weight.square().sum())

    with caplog.at_level(logging.WARNING, logger="dal_toolbox"):
        ours = LinearClassifier(shape[2], normalize=False).fit(features, labels)
    found = objective(torch.cat([ours.weight_, ours.bias_[None]]))
    assert found <= 1.001 * objective(torch.from_numpy(theirs.coef_).T)
    assert not caplog.text


def test_a_minimum_that_is_not_found_is_reported(caplog, monkeypatch):
    monkeypatch.setattr(linear, "MAX_STEPS", 1)
    features, labels = problem(200, 10, 4)
    with caplog.at_level(logging.WARNING, logger="dal_toolbox"):
        LinearClassifier(4, normalize=False).fit(1e4 * features, labels)
    assert "above its minimum" in caplog.text


def test_classes_without_labels_share_one_solution():
    features, labels = problem(30, 8, 2)
    logits = LinearClassifier(6).fit(features, labels + 3).logits(features)
    torch.testing.assert_close(logits[:, 0], logits[:, 5])
    assert (logits[:, 0] < logits[:, 3:5].amax(1)).all()


def test_scale_of_the_features_does_not_matter_when_normalized():
    features, labels = problem(40, 8, 3)
    one = LinearClassifier(3).fit(features, labels).logits(features)
    two = LinearClassifier(3).fit(1000 * features, labels).logits(0.001 * features)
    torch.testing.assert_close(one, two)


def test_identical_items_get_identical_logits():
    features, labels = problem(5000, 33, 7)
    features = features.float()
    features[4097] = features[-1] = features[0]
    logits = LinearClassifier(7).fit(features[:50], labels[:50]).logits(features)
    assert torch.equal(logits[0], logits[4097])
    assert torch.equal(logits[0], logits[-1])


def test_separable_digits_fit_their_training_set():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, y = torch.from_numpy(x).float(), torch.from_numpy(y)
    model = LinearClassifier(10).fit(x[:40], y[:40])
    assert (model.logits(x[:40]).argmax(1) == y[:40]).all()
    assert (model.logits(x).argmax(1) == y).double().mean() > 0.75


def test_l2_must_be_positive():
    with pytest.raises(ValueError, match="l2=0"):
        LinearClassifier(2, l2=0.0)


def test_lbfgs_finds_the_minimum_of_a_bad_quadratic():
    scales = torch.logspace(-2, 0, 30, dtype=torch.float64)
    target = torch.linspace(-1, 1, 30, dtype=torch.float64)

    def objective(x):
        gradient = scales * (x - target)
        return (gradient * (x - target)).sum() / 2, gradient

    found = minimize(objective, torch.zeros(30, dtype=torch.float64), tolerance=1e-9)
    torch.testing.assert_close(found, target, atol=1e-6, rtol=0)


def test_lbfgs_stops_at_rounding_errors():
    calls = []

    def objective(x):
        calls.append(x)
        return 1e9 + x.square().sum() / 2, x + 1e-4 * torch.sin(1e6 * x)

    minimize(objective, torch.ones(5).double(), tolerance=1e-12)
    assert len(calls) < 100


def test_lbfgs_says_that_it_stopped(caplog):
    def objective(x):
        return torch.cosh(5 * x).sum(), 5 * torch.sinh(5 * x)

    with caplog.at_level(logging.WARNING, logger="dal_toolbox"):
        minimize(objective, torch.ones(1).double(), tolerance=1e-12, max_iterations=2)
    assert "stopped after 2 iterations" in caplog.text
