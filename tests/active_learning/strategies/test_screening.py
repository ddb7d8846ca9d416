"""Scores in float32 first: the picks, and the ties, are those of exact scores of all items."""

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies import STRATEGIES, ScoreStrategy, _predictions
from dal_toolbox.active_learning.strategies._screening import error
from dal_toolbox.active_learning.strategies.cal import Compared
from dal_toolbox.seeding import generator

PREDICTIONS = ["least_confident", "margin", "entropy", "bald"]
NAMES = [*PREDICTIONS, "cal"]
OPTIONS = {"cal": {"num_neighbors": 10, "candidates_per_pick": 1}}  # the largest scores alone


def build(name):
    return STRATEGIES.build(name, **OPTIONS.get(name, {}))


class Exact(ScoreStrategy):
    """The same scores without screening."""

    def __init__(self, name):
        self.strategy = build(name)

    def score(self, context):
        return self.strategy.score(context)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [0, 1, 7, 100, 1980])
def test_picks_are_those_of_exact_scores(name, n, monkeypatch):
    monkeypatch.setattr(_predictions, "ROWS", 300)
    features, targets = blobs(2000)
    features[1000:1500] = features[200:700]  # ties
    pool = Situation(features, tuple(range(20)), tuple(targets[:20].tolist()))
    for seed in range(3):
        context = lambda: pool.context(PosteriorClassifier, seed=seed)  # noqa: B023, E731
        expected = Exact(name).query(context(), n)
        assert build(name).query(context(), n).tolist() == expected.tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("situation", situations())
def test_picks_of_awkward_pools(name, situation):
    context = lambda: situations()[situation].context(PosteriorClassifier)  # noqa: E731
    n = min(5, len(context().unlabeled))
    expected = Exact(name).query(context(), n) if situations()[situation].labels else None
    picks = build(name).query(context(), n)
    assert expected is None or picks.tolist() == expected.tolist()


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("classes", [2, 3, 50, 1000])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_float32_stays_within_the_bound(name, classes, scale):
    strategy = STRATEGIES.build(name)
    shape = (200, classes, 5) if name == "bald" else (200, classes)
    block = torch.from_numpy(generator(classes, "logits").normal(size=shape) * scale).float()
    if name == "bald":
        block = block.softmax(dim=1)
    difference = strategy.rough(block).double() - strategy.exact(block)
    assert difference.abs().max() <= error(block) / 10  # a bound of the worst case


@pytest.mark.parametrize("neighbors", [1, 10, 100])
@pytest.mark.parametrize("classes", [2, 3, 50, 1000])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_float32_stays_within_the_bound_of_cal(neighbors, classes, scale):
    rng = generator(classes, "logits")
    logits, labeled = torch.from_numpy(rng.normal(size=(2, 200, classes)) * scale).float()
    p = labeled.double().softmax(dim=1)
    table = torch.cat([p, -torch.special.entr(p).sum(dim=1, keepdim=True)], dim=1)
    nearest = torch.from_numpy(rng.integers(200, size=(200, neighbors)))
    strategy, block = STRATEGIES.build("cal"), Compared(logits, nearest, table, table.float())
    difference = strategy.rough(block).double() - strategy.exact(block)
    assert difference.abs().max() <= strategy.error(block) / 10


@pytest.mark.parametrize("name", ["least_confident", "margin", "entropy", "cal"])
def test_scores_that_are_not_finite_are_named(name):
    class Broken(PosteriorClassifier):
        def logits(self, features):
            logits = super().logits(features)
            logits[3] = torch.nan
            return logits

    context = situations()["ordinary"].context(Broken)
    with pytest.raises(ValueError, match="logits of item 3 hold NaN"):
        STRATEGIES.build(name).query(context, 5)


def test_layout_of_samples_does_not_matter():
    strategy = STRATEGIES.build("bald")
    logits = torch.from_numpy(generator(0, "logits").normal(size=(50, 7, 4)))
    samples = logits.softmax(dim=1).float()
    other = samples.movedim(2, 1).contiguous().movedim(1, 2)
    assert np.array_equal(strategy.rough(samples), strategy.rough(other))
    torch.testing.assert_close(strategy.exact(samples), strategy.exact(other))
