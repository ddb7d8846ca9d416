"""Every registered strategy keeps the contract."""

import inspect

import pytest

from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.testing import strategy_checks

CHECKS = {
    f"{strategy}: {name}": check
    for strategy, factory in STRATEGIES.items()
    for name, check in strategy_checks(factory).items()
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_argument_is_a_hyperparameter_with_a_default(name):
    strategy = STRATEGIES.build(name)
    for parameter in inspect.signature(STRATEGIES[name]).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.annotation is not parameter.empty
        assert getattr(strategy, parameter.name) == parameter.default


@pytest.mark.parametrize("name", CHECKS)
def test_contract(name):
    CHECKS[name]()
