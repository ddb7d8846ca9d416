from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES, ScoreStrategy
from dal_toolbox.active_learning.strategies.stochastic import StochasticAcquisition
from dal_toolbox.seeding import generator


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


class Given(ScoreStrategy):
    def __init__(self, scores):
        self.scores = torch.tensor(scores).double()

    def score(self, context):
        return self.scores[: len(context.unlabeled)]


def stochastic(scores, **options):
    strategy = StochasticAcquisition(**options)
    strategy._strategy = Given(scores)
    return strategy


SCORES = [0.1, 0.7, 0.4, 1.3, 0.0]
WEIGHTS = {
    "power": lambda s, beta: s**beta,
    "softmax": lambda s, beta: np.exp(beta * s),
    "softrank": lambda s, beta: 1 / (np.argsort(np.argsort(-s)) + 1.0) ** beta,
}


@pytest.mark.parametrize("mode", WEIGHTS)
@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_pairs_have_the_probabilities_of_draws_without_replacement(mode, beta):
    weights = WEIGHTS[mode](np.array(SCORES), beta)
    expected = {
        (i, j): weights[i] / weights.sum() * weights[j] / (weights.sum() - weights[i])
        for i, j in permutations(range(5), 2)
    }
    strategy = stochastic(SCORES, mode=mode, beta=beta)
    context = context_of()
    context = context.restrict(context.unlabeled[:5])
    counts = dict.fromkeys(expected, 0)
    for _ in range(4000):
        counts[tuple(np.searchsorted(context.unlabeled, strategy.query(context, 2)))] += 1
    likely = [pair for pair in expected if 4000 * expected[pair] >= 5]
    rest = 4000 - sum(counts[pair] for pair in likely)
    observed = np.array([*(counts[pair] for pair in likely), rest])
    total = np.array([4000 * expected[pair] for pair in likely])
    total = np.append(total, 4000 - total.sum())
    keep = total > 1e-6
    assert observed[~keep].sum() == 0
    assert chisquare(observed[keep], total[keep]).pvalue > 1e-3


def test_zero_scores_come_last_in_random_order():
    scores = [0.0] * 25 + [1.0] * 25
    orders = set()
    for seed in range(5):
        context = context_of(seed=seed)
        picks = np.searchsorted(context.unlabeled, stochastic(scores).query(context, 50))
        assert (picks[:25] >= 25).all()
        assert sorted(picks[25:]) == list(range(25))
        orders.add(tuple(picks[25:]))
    assert len(orders) == 5


def test_negative_scores_are_shifted():
    scores = np.linspace(-1, 0, 50)
    found = stochastic(scores).log_weights(scores, generator(0))
    np.testing.assert_allclose(np.exp(found), scores + 1, atol=1e-12)


def test_infinite_scores_come_first_or_last():
    for mode in WEIGHTS:
        scores = [1.0] * 50
        scores[7], scores[9] = np.inf, -np.inf
        for seed in range(20):
            context = context_of(seed=seed)
            picks = stochastic(scores, mode=mode).query(context, 50)
            if mode != "softrank":
                assert picks[[0, -1]].tolist() == context.unlabeled[[7, 9]].tolist()


def test_large_beta_takes_the_largest_scores():
    expected = STRATEGIES.build("entropy").query(context_of(), 10)
    for mode in WEIGHTS:
        strategy = STRATEGIES.build("stochastic", base="entropy", mode=mode, beta=1e9)
        assert strategy.query(context_of(), 10).tolist() == expected.tolist()


def test_beta_zero_is_uniform():
    counts = np.zeros(60)
    context = context_of()
    for _ in range(1000):
        counts[STRATEGIES.build("stochastic", base="entropy", beta=0.0).query(context, 10)] += 1
    assert abs(counts[context.unlabeled] - 200).max() < 6 * np.sqrt(200)


def test_options_reach_the_base(monkeypatch):
    class Optional(ScoreStrategy):
        def __init__(self, *, power: float = 1.0) -> None:
            self.power = power

        def score(self, context):
            raise NotImplementedError

    monkeypatch.setitem(STRATEGIES._factories, "optional", Optional)
    strategy = StochasticAcquisition(base="optional", base_options={"power": 3.0})
    assert strategy._strategy.power == 3.0
    with pytest.raises(ValueError, match="base_options=.*'optional'.*pwer"):
        StochasticAcquisition(base="optional", base_options={"pwer": 3.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "coreset"}, "base='coreset'.*gives no scores.*bald.*margin"),
        ({"base": "stochastic"}, "made of itself"),
        ({"base": "margni"}, "Did you mean 'margin'"),
        ({"mode": "exp"}, "mode='exp'.*power, softmax, softrank"),
        ({"beta": -1.0}, "beta=-1.0"),
        ({"beta": float("nan")}, "beta=nan"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        STRATEGIES.build("stochastic", **options)


def test_cold_start_is_random():
    random = STRATEGIES.build("random").query(context_of("cold start"), 5)
    picks = STRATEGIES.build("stochastic").query(context_of("cold start"), 5)
    assert picks.tolist() == random.tolist()
