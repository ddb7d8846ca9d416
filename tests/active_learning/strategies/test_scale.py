"""A scale of features that the classifier ignores changes no pick."""

from dataclasses import replace

import pytest

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES

SMALLER = {
    "refine": {"strategies": ("random", "margin", "bait"), "num_levels": 1, "num_batches": 3,
               "final": "coreset"},
}  # fmt: skip


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**27])
@pytest.mark.parametrize("situation", ["ordinary", "cold start", "unit norm"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_scale_of_the_features_changes_no_pick(name, situation, scale):
    """By powers of two: what is left are thresholds and constants that are added to squares."""
    strategy = STRATEGIES.build(name, **SMALLER.get(name, {}))
    case = situations()[situation]
    scaled = replace(case, features=case.features * scale)
    picks = strategy.query(case.context(PosteriorClassifier), 7)
    assert strategy.query(scaled.context(PosteriorClassifier), 7).tolist() == picks.tolist()
