"""Every registered strategy keeps the contract."""

import inspect
import signal
from functools import partial

import pytest

from dal_toolbox.active_learning.strategies import STRATEGIES, check_needs
from dal_toolbox.active_learning.testing import strategy_checks
from dal_toolbox.classifiers import CLASSIFIERS, with_posterior

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


@pytest.mark.parametrize("name", STRATEGIES)
def test_classifiers_without_a_posterior_are_refused_before_data_is_opened(name):
    strategy = STRATEGIES.build(name)
    for classifier in CLASSIFIERS:
        makes = [CLASSIFIERS[classifier], partial(CLASSIFIERS[classifier], num_classes=3)]
        for make in makes:
            if "posterior" in strategy.needs and classifier not in with_posterior():
                with pytest.raises(ValueError, match="has none; .*: ensemble, laplace, mc_dropout"):
                    check_needs(strategy, make)
            else:
                check_needs(strategy, make)


def test_what_starts_cold():
    """Strategies that may choose the first batch; for all others it is drawn at random."""
    assert [name for name in STRATEGIES if STRATEGIES.build(name).starts_cold] == [
        "activeft", "alfamix", "clue", "coreset", "dcom", "dropquery", "facility_location",
        "maxherding", "probcover", "random", "random_cluster", "switch", "typiclust",
        "uncertainty_herding",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "needs", "cold"),
    [
        ("subsample", {"base": "typiclust"}, {"features"}, True),
        ("subsample", {"base": "bald"}, {"posterior"}, False),
        ("stochastic", {"base": "variation_ratio"}, {"posterior"}, False),
        ("switch", {"then": "bald"}, {"features", "posterior"}, True),
        ("switch", {"threshold": 0}, {"features", "predictions"}, False),
        ("ensemble", {"strategies": ("typiclust", "coreset")}, {"features"}, True),
        ("ensemble", {}, {"features", "predictions"}, False),
        ("tailor", {"strategies": ("random", "coreset")}, {"features"}, True),
        ("facility_location", {"filter_factor": 5}, {"features", "predictions"}, True),
        ("refine", {"strategies": ("random",), "final": "coreset"}, {"features"}, True),
    ],
)
def test_strategies_made_of_others_need_what_their_members_need(name, options, needs, cold):
    strategy = STRATEGIES.build(name, **options)
    assert strategy.needs == needs
    assert strategy.starts_cold == cold
