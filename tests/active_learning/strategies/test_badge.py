import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES, _predictions
from dal_toolbox.active_learning.strategies.badge import gradient_factors


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


def gradients(context):
    """(p − onehot(ŷ)) ⊗ h in float64."""
    p = context.probabilities
    onehot = torch.nn.functional.one_hot(p.argmax(1), p.shape[1])
    h = context.features[torch.from_numpy(context.unlabeled)].double()
    return ((p - onehot)[:, :, None] * h[:, None, :]).flatten(1)


def test_factors_are_the_gradients():
    for name in ("ordinary", "200 classes", "half precision", "certain predictions"):
        context = context_of(name)
        q, lengths = gradient_factors(context)
        h = context.features[torch.from_numpy(context.unlabeled)].double()
        found = -(q.double() * lengths[:, None])[:, :, None] * h[:, None, :]
        torch.testing.assert_close(found.flatten(1), gradients(context), rtol=1e-6, atol=1e-7)


def test_half_precision_of_large_pools(monkeypatch):
    monkeypatch.setattr(_predictions, "WHOLE", 1)
    context = context_of("200 classes")
    q, lengths = gradient_factors(context)
    assert q.dtype == torch.float16
    h = context.features[torch.from_numpy(context.unlabeled)].double()
    found = -((q.double() * lengths[:, None])[:, :, None] * h[:, None, :]).flatten(1)
    expected = gradients(context)
    assert ((found - expected).norm(dim=1) <= 1e-3 * expected.norm(dim=1)).all()
    assert len(set(STRATEGIES.build("badge").query(context, 20))) == 20


def test_the_first_pick_is_the_longest_gradient_and_the_second_follows_d2():
    g = gradients(context_of())
    first = int(g.norm(dim=1).argmax())
    expected = (g - g[first]).square().sum(1).numpy()
    unlabeled = context_of().unlabeled
    counts = np.zeros(len(g))
    for seed in range(500):
        context = context_of(seed=seed)
        picks = np.searchsorted(unlabeled, STRATEGIES.build("badge").query(context, 2))
        assert picks[0] == first
        counts[picks[1]] += 1
    order = np.argsort(-expected)
    groups = np.array_split(order, 8)
    share = [expected[group].sum() / expected.sum() for group in groups]
    observed = [counts[group].sum() for group in groups]
    assert chisquare(observed, 500 * np.array(share)).pvalue > 1e-3


def test_where_all_gradients_are_zero_the_rest_is_uniform():
    counts = np.zeros(60)
    for seed in range(300):
        counts[
            STRATEGIES.build("badge").query(context_of("certain predictions", seed=seed), 11)
        ] += 1
    assert counts[0] == 300  # the longest gradient: the lowest index among equals
    assert abs(counts[1:50] - 300 * 10 / 49).max() < 6 * np.sqrt(300 * 10 / 49)


def test_cold_start_is_random_and_logged(caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build("badge").query(context_of("cold start"), 5)
    assert picks.tolist() == STRATEGIES.build("random").query(context_of("cold start"), 5).tolist()
    assert "Badge needs a classifier: 5 items are drawn at random instead" in caplog.text


@pytest.mark.parametrize("n", [0, 1, 50])
def test_sizes(n):
    assert len(set(STRATEGIES.build("badge").query(context_of(), n))) == n


@pytest.mark.parametrize("scale", [2.0**-130, 2.0**-60, 2.0**60, 2.0**120])
def test_powers_of_two_do_not_matter(scale):
    """Float32 cannot hold the square of these numbers; proposals have to end all the same."""
    context = context_of()
    expected = STRATEGIES.build("badge").query(context_of(), 12)
    scaled = replace(
        context, features=scale * context.features, classifier=Unscaled(context, scale)
    )
    assert STRATEGIES.build("badge").query(scaled, 12).tolist() == expected.tolist()


class Unscaled:
    """Predicts for scaled features what the classifier predicts for the others."""

    def __init__(self, context, scale):
        self.context, self.scale = context, scale

    def logits(self, features):
        return self.context.classifier.logits(features.double() / self.scale)
