"""Classifiers with a posterior: laplace, ensemble, mc_dropout."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dal_toolbox.classifiers import CLASSIFIERS, BayesianClassifier
from dal_toolbox.classifiers.ensemble import bootstrap
from dal_toolbox.classifiers.laplace import LaplaceClassifier, _few_items, _many_items

NAMES = ("laplace", "ensemble", "mc_dropout")


def digits(n):
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x / 16).float(), torch.from_numpy(y)[: len(x)], n


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_distributions_that_depend_on_rng_alone(name):
    x, y, n = digits(60)
    classifier = CLASSIFIERS.build(name, num_classes=12).fit(x[:n], y[:n])
    assert isinstance(classifier, BayesianClassifier)
    one, two = (classifier.samples(x[:90], np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one, two)
    m = one.shape[2]
    assert one.shape == (90, 12, m)
    assert one.dtype == torch.float32
    torch.testing.assert_close(one.sum(1), torch.ones(90, m))
    part = classifier.samples(x[30:50], np.random.default_rng(5))  # blocks see the same draws
    torch.testing.assert_close(part, one[30:50], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_draws_agree_where_there_are_labels_and_differ_far_from_them(name):
    x, y, _ = digits(0)
    known = y < 5
    classifier = CLASSIFIERS.build(name, num_classes=10).fit(x[known], y[known])

    def disagreement(items):
        p = classifier.samples(items, np.random.default_rng(0)).double()
        entropy = lambda q: -(q * q.clamp(min=1e-30).log()).sum(1)  # noqa: E731
        return float((entropy(p.mean(2)) - entropy(p).mean(1)).mean())

    assert disagreement(x[~known]) > 1.5 * disagreement(x[known])


@pytest.mark.parametrize("n", [5, 40])
def test_laplace_draws_have_the_posterior_covariance(n):
    """Both ways to draw, against the inverse of the Hessian in float64."""
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.normal(size=(n, 8)))
    covariance = torch.linalg.inv(a.T @ a + 0.3 * torch.eye(8, dtype=torch.float64))
    draw = _few_items if n < 8 else _many_items
    draws = draw(a, 0.3, torch.from_numpy(rng.standard_normal((8 + n, 200_000))))
    torch.testing.assert_close(draws @ draws.T / 200_000, covariance, atol=0.03, rtol=0.03)


def test_laplace_hessian_is_that_of_autograd():
    x, y, _ = digits(0)
    x, y = x[:30, 20:24].double(), y[:30] % 3
    model = LaplaceClassifier(3, l2=0.5, normalize=False, num_samples=1).fit(x, y)
    weight = torch.cat([model.weight_, model.bias_[None]])  # (5, 3)

    def loss(w):
        return F.cross_entropy(F.pad(x, (0, 1), value=1.0) @ w, y, reduction="sum") + 0.25 * (
            w.square().sum()
        )

    full = torch.autograd.functional.hessian(loss, weight)  # (5, 3, 5, 3)
    variances = model._p * (1 - model._p)
    for c in range(3):
        ours = (model._x * variances[:, c : c + 1]).T @ model._x + 0.5 * torch.eye(5)
        torch.testing.assert_close(ours, full[:, c, :, c], atol=1e-8, rtol=1e-6)


def test_laplace_equals_linear_in_its_predictions():
    x, y, _ = digits(0)
    one = CLASSIFIERS.build("laplace", num_classes=10).fit(x[:50], y[:50])
    two = CLASSIFIERS.build("linear", num_classes=10).fit(x[:50], y[:50])
    assert torch.equal(one.logits(x), two.logits(x))


def test_bootstrap_has_every_class_and_the_expected_repetitions():
    labels = np.array([0] * 40 + [1, 2, 3])
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows = bootstrap(labels, rng)
        assert len(rows) == 43
        assert set(labels[rows]) == {0, 1, 2, 3}
    unique = [len(np.unique(bootstrap(np.zeros(1000, int), rng))) for _ in range(20)]
    assert abs(np.mean(unique) / 1000 - (1 - np.exp(-1))) < 0.01


def test_laplace_remembers_the_draws_of_the_last_rng_alone():
    x, y, n = digits(60)
    model = CLASSIFIERS.build("laplace", num_classes=10).fit(x[:n], y[:n])
    one, two = np.random.default_rng(1), np.random.default_rng(2)
    first, second, third = (model.samples(x[:5], rng) for rng in (one, two, one))
    fresh = np.random.default_rng(1)
    assert torch.equal(model.samples(x[:5], fresh), first)
    assert torch.equal(model.samples(x[:5], fresh), third)  # the rng has moved on all the same
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)
    model.fit(x[30:90], y[30:90])
    assert not torch.equal(model.samples(x[:5], np.random.default_rng(1)), first)


@pytest.mark.parametrize("options", [{"num_samples": 0}, {"dropout": 1.0}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ValueError, match="="):
        CLASSIFIERS.build("mc_dropout", num_classes=2, **options)
