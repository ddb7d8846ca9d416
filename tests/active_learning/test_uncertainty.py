import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES, QueryStrategy, ScoreStrategy

NAMES = ["entropy", "least_confident", "margin"]


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


def reference(name: str, p: np.ndarray) -> float:
    p = np.sort(p)[::-1]
    if name == "entropy":
        return -sum(x * np.log(x) for x in p if x > 0)
    return 1 - p[0] if name == "least_confident" else p[1] - p[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("situation", ["ordinary", "200 classes", "classes 3 and 7 only"])
def test_scores_and_picks_equal_the_formula(name, situation):
    context = context_of(situation)
    expected = np.array([reference(name, p.numpy()) for p in context.probabilities])
    strategy = STRATEGIES.build(name)
    np.testing.assert_allclose(strategy.score(context).numpy(), expected, atol=1e-12)
    picks = strategy.query(context, 9)
    assert picks.tolist() == context.unlabeled[np.argsort(-expected)[:9]].tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("situation", ["uniform predictions", "certain predictions"])
def test_extreme_predictions_tie_and_ties_are_random(name, situation):
    scores = STRATEGIES.build(name).score(context_of(situation))
    assert scores.isfinite().all()
    assert scores.unique().numel() == 1
    picks = [
        STRATEGIES.build(name).query(context_of(situation, seed=seed), 50) for seed in range(3)
    ]
    assert len({tuple(pick) for pick in picks}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_cold_start_is_random_and_logged(name, caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build(name).query(context_of("cold start"), 5)
    random = STRATEGIES.build("random").query(context_of("cold start"), 5)
    assert picks.tolist() == random.tolist()
    assert "5 items are drawn at random instead" in caplog.text


def test_random_is_uniform():
    context = context_of()
    counts = np.zeros(60)
    for _ in range(2000):
        counts[STRATEGIES.build("random").query(context, 10)] += 1
    assert counts[context.labeled].sum() == 0
    counts = counts[context.unlabeled]
    assert abs(counts - 400).max() < 6 * np.sqrt(2000 * 0.2 * 0.8)


class Constant(ScoreStrategy):
    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def score(self, context):
        return self.scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.tensor([float("nan")] * 2 + [0.0] * 48), "scored 2 of 50 items NaN"),
        (torch.zeros(60), r"\(60,\) instead of \(50,\)"),
        (torch.zeros(50, 1), "instead of"),
    ],
)
def test_bad_scores_are_named(scores, message):
    with pytest.raises(ValueError, match=f"Constant.*{message}"):
        Constant(scores).query(context_of(), 3)


def test_infinite_scores_and_top_n():
    scores = torch.zeros(50)
    scores[7], scores[3], scores[11] = torch.inf, 2.0, -torch.inf
    picks = Constant(scores).query(context_of(), 50)
    unlabeled = context_of().unlabeled
    assert picks[[0, 1, -1]].tolist() == unlabeled[[7, 3, 11]].tolist()


def test_the_example_of_the_design_works_verbatim():
    class Margin(ScoreStrategy):
        def score(self, context) -> Tensor:
            top = context.probabilities.topk(2, dim=1).values
            return top[:, 1] - top[:, 0]

    class First(QueryStrategy):
        def query(self, context, n):
            return context.unlabeled[:n]

    expected = STRATEGIES.build("margin").query(context_of(), 5)
    assert Margin().query(context_of(), 5).tolist() == expected.tolist()
    assert First().query(context_of(), 2).tolist() == [0, 1]
