import numpy as np
import pytest

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.initial import INITIAL
from dal_toolbox.active_learning.oracles import ORACLES, JournaledOracle
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.strategies.base import validate_query
from dal_toolbox.errors import UserError


def select(name, n, targets, seed=0, strategy="random", oracle=None):
    features, _ = blobs(len(targets))
    context = Situation(features).context(PosteriorClassifier, seed=seed)
    oracle = oracle or ORACLES.build("simulated", targets=targets)
    picks = INITIAL.build(name).select(
        context, n, strategy=STRATEGIES.build(strategy), oracle=oracle
    )
    return validate_query(picks, context, n, name)


@pytest.mark.parametrize("name", INITIAL)
@pytest.mark.parametrize("n", [1, 7, 60])
def test_exactly_n_by_seed(name, n):
    targets = blobs(60)[1]
    assert select(name, n, targets).tolist() == select(name, n, targets).tolist()
    assert n == 60 or select(name, n, targets).tolist() != select(name, n, targets, 1).tolist()


@pytest.mark.parametrize("n", [10, 15, 23])
def test_balanced_is_balanced(n):
    targets = np.random.default_rng(0).permutation(np.arange(100) % 10)
    counts = np.bincount(targets[select("balanced", n, targets)], minlength=10)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_balanced_extra_items_go_to_random_classes():
    targets = np.arange(60) % 3
    classes = {int(targets[select("balanced", 1, targets, seed)][0]) for seed in range(20)}
    assert classes == {0, 1, 2}


def test_balanced_with_rare_and_unknown_classes():
    targets = np.array([0] * 40 + [4] * 2 + [7] * 10 + [-1] * 8)
    counts = np.bincount(targets[select("balanced", 20, targets)], minlength=8)
    assert counts[[0, 4, 7]].tolist() == [9, 2, 9]
    with pytest.raises(UserError, match="53 balanced initial items asked of 52"):
        select("balanced", 53, targets)


def test_balanced_says_that_it_looks_at_labels(tmp_path):
    assert INITIAL.build("balanced").looks_at_labels
    assert not INITIAL.build("random").looks_at_labels
    targets = blobs(60)[1]

    class Person:
        def label(self, indices):
            raise AssertionError("nobody should be asked")

    with pytest.raises(UserError, match="Person does not know"):
        select("balanced", 5, targets, oracle=Person())
    journaled = JournaledOracle(ORACLES.build("simulated", targets=targets), tmp_path / "j.jsonl")
    assert len(select("balanced", 5, targets, oracle=journaled)) == 5


def test_none_leaves_the_choice_to_the_strategy():
    context = situations()["cold start"].context(PosteriorClassifier)
    expected = STRATEGIES.build("coreset").query(context, 5)
    assert select("none", 5, blobs(60)[1], strategy="coreset").tolist() == expected.tolist()
