"""Every registered strategy keeps the contract."""

import inspect
import signal
from functools import partial

import pytest

from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.testing import strategy_checks

# What is too slow by default, made smaller; the contract does not depend on these numbers.
SMALLER = {
    "refine": {"strategies": ("random", "margin", "coreset"), "num_levels": 2, "num_batches": 6,
               "final": "coreset"},
}  # fmt: skip
CHECKS = {
    f"{strategy}: {name}": check
    for strategy, factory in STRATEGIES.items()
    for name, check in strategy_checks(partial(factory, **SMALLER.get(strategy, {}))).items()
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_argument_is_a_hyperparameter_with_a_default(name):
    strategy = STRATEGIES.build(name)
    for parameter in inspect.signature(STRATEGIES[name]).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.annotation is not parameter.empty
        assert getattr(strategy, parameter.name) == parameter.default


@pytest.fixture
def alarm():
    """Ends an endless loop with an error."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", CHECKS)
def test_contract(name, alarm):
    CHECKS[name]()
