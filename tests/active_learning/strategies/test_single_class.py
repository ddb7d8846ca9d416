"""Every strategy chooses from a pool of one class, and with labels of one class alone."""

from functools import partial

import pytest

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.testing import check_repeatable, check_selection

X = blobs(60)[0]
CASES = {
    "one class": Situation(X, (0, 1, 2), (0, 0, 0), num_classes=1),
    "one class, cold": Situation(X, num_classes=1),
    "one of three": Situation(X, (5, 9, 30), (2, 2, 2)),
}
SMALLER = {
    "refine": {"strategies": ("random", "margin", "coreset"), "num_levels": 2, "num_batches": 6,
               "final": "coreset"},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_contract_with_a_single_class(name, case):
    make_strategy = partial(STRATEGIES.build, name, **SMALLER.get(name, {}))
    make_context = partial(CASES[case].context, PosteriorClassifier)
    check_selection(make_strategy, make_context)
    check_repeatable(make_strategy, make_context)
