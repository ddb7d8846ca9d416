import logging
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.pool import Pool
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.strategies.bald import _largest_count
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.errors import UserError
from dal_toolbox.seeding import draw_seed, generator


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


class Given:
    """Samples (N, C, M) are given; the only feature is the position."""

    def __init__(self, table):
        self.table = table
        self.num_classes = table.shape[1]

    def fit(self, features, labels):
        return self

    def logits(self, features):
        return self.table[features[:, 0].long()].mean(2).clamp(min=1e-30).log().float()

    def probabilities(self, features):
        return self.logits(features).double().softmax(1)

    def samples(self, features, rng):
        return self.table[features[:, 0].long()]


def context_with(table, *, seed=0, **options):
    n = len(table)
    return QueryContext(
        features=torch.arange(n + 1.0)[:, None],
        pool=Pool.from_history(n + 1, [np.array([n])]),
        labels=torch.zeros(1, dtype=torch.int64),
        num_classes=table.shape[1],
        rng=generator(seed, "bald"),
        classifier=Given(torch.cat([table, table[:1]])),
        **options,
    )


def random_table(n, C=3, M=5, seed=0):
    rng = generator(seed, "table")
    return torch.from_numpy(rng.dirichlet(np.full(C, 0.5), size=(n, M))).transpose(1, 2)


def h(p):
    return -sum(x * np.log(x) for x in p if x > 0)


def bald(p):
    return h(p.mean(1)) - np.mean([h(p[:, m]) for m in range(p.shape[1])])


def variation_ratio(p):
    return 1 - Counter(p.argmax(0).tolist()).most_common(1)[0][1] / p.shape[1]


@pytest.mark.parametrize(
    ("name", "formula"), [("bald", bald), ("variation_ratio", variation_ratio)]
)
@pytest.mark.parametrize("M", [1, 2, 7])
def test_scores_equal_the_formula(name, formula, M):
    table = random_table(3000, M=M)  # more than one block
    context = context_with(table)
    expected = [formula(p.numpy()) for p in table]
    scores = STRATEGIES.build(name).score(context)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-11)
    assert (scores >= 0).all()


def test_picks_equal_brute_force():
    table = random_table(60)
    expected = np.argsort([-bald(p.numpy()) for p in table])[:20]
    assert STRATEGIES.build("bald").query(context_with(table), 20).tolist() == expected.tolist()


@pytest.mark.parametrize("classifier", ["ensemble", "laplace", "mc_dropout"])
def test_scores_of_a_posterior_are_those_of_its_draws_in_float64(classifier):
    """From the logits of every draw alone, by another formula: the mean of KL(p_m ‖ p̄)."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.from_numpy(x[:300] / 16).float(), torch.from_numpy(y[:300])
    model = CLASSIFIERS.build(classifier, num_classes=10).fit(x[:10], y[:10])
    context = QueryContext(
        features=x,
        pool=Pool.from_history(300, [np.arange(10)]),
        labels=y[:10],
        num_classes=10,
        rng=generator(0, "bald"),
        classifier=model,
    )
    scores = STRATEGIES.build("bald").score(context).numpy()
    block = generator(draw_seed(generator(0, "bald")), "posterior")
    p = model.samples(x[10:], generator(draw_seed(block))).double().numpy()
    mean = p.mean(axis=2, keepdims=True)
    expected = np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / mean), 0).sum(axis=1).mean(axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_agreement_scores_zero_and_disagreement_log_c():
    same = torch.tensor([[0.2, 0.5, 0.3]]).double()[:, :, None].expand(1, 3, 6)
    split = (
        torch.eye(3).double().repeat(1, 2)[None]
    )  # (1, 3, 6): each draw is sure of another class
    context = context_with(torch.cat([same, split]))
    np.testing.assert_allclose(STRATEGIES.build("bald").score(context), [0, np.log(3)], atol=1e-12)
    ratio = STRATEGIES.build("variation_ratio").score(context)
    np.testing.assert_allclose(ratio, [0, 2 / 3])


def test_most_frequent_value():
    rng = generator(0, "votes")
    votes = torch.from_numpy(rng.integers(0, 4, size=(200, 9)))
    expected = [Counter(row.tolist()).most_common(1)[0][1] for row in votes]
    assert _largest_count(votes).tolist() == expected


@pytest.mark.parametrize("name", ["bald", "variation_ratio"])
def test_classifiers_without_posterior_are_refused_and_others_named(name):
    x = situations()["ordinary"]
    context = x.context(CLASSIFIERS["linear"])
    with pytest.raises(UserError, match="LinearClassifier has no posterior.*ensemble.*laplace"):
        STRATEGIES.build(name).query(context, 3)


@pytest.mark.parametrize("name", ["bald", "variation_ratio"])
@pytest.mark.parametrize("classifier", ["laplace", "ensemble", "mc_dropout"])
def test_works_with_every_posterior(name, classifier):
    context = situations()["ordinary"].context(CLASSIFIERS[classifier])
    scores = STRATEGIES.build(name).score(context)
    assert scores.shape == (50,)
    assert scores.min() >= 0
    assert name == "variation_ratio" or scores.max() > 0


@pytest.mark.parametrize("name", ["bald", "variation_ratio"])
def test_cold_start_is_random_and_logged(name, caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build(name).query(context_of("cold start"), 5)
    assert picks.tolist() == STRATEGIES.build("random").query(context_of("cold start"), 5).tolist()
    assert "5 items are drawn at random instead" in caplog.text
