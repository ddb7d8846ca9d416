"""Every argument of every strategy and classifier: refused by its name, or a part that works."""

import inspect
import signal
import typing
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dal_toolbox.active_learning import Pool, QueryContext
from dal_toolbox.active_learning._situations import PosteriorClassifier
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.strategies.base import validate_query
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.seeding import generator

NAN, INF = float("nan"), float("inf")
NEVER = [NAN, INF, -INF, "", "no such thing", (), [3], 1j]  # right for no argument
BORDERS = [0, -1, 10**12, 1e30, -0.5, True, 0.5]
SMALLER = {"refine": {"strategies": ("random", "coreset"), "num_levels": 1, "num_batches": 2}}


def parameters(registry):
    """(part, argument, annotation) of all of them."""
    for name in registry:
        factory = registry[name]
        hints = typing.get_type_hints(factory.__init__)
        for argument in inspect.signature(factory).parameters:
            yield name, argument, hints[argument]


def cases(registry):
    for name, argument, annotation in parameters(registry):
        optional = type(None) in typing.get_args(annotation)
        for value in [*NEVER, *([] if optional else [None])]:
            yield pytest.param(name, argument, value, True, id=f"{name}-{argument}-{value!r}")
        for value in [*BORDERS, *([None] if optional else [])]:
            yield pytest.param(name, argument, value, False, id=f"{name}-{argument}-{value!r}")


@pytest.fixture(autouse=True)
def alarm():
    """Ends what takes too long with an error."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@cache
def digits():
    x, y = load_digits(return_X_y=True)
    return torch.from_numpy(x[:90]).float(), torch.from_numpy(y[:90])


def context(num_labeled):
    x, y = digits()
    labeled = np.arange(num_labeled)
    classifier = (
        PosteriorClassifier(10).fit(x[:num_labeled], y[:num_labeled]) if num_labeled else None
    )
    pool = Pool.from_history(len(x), [labeled] if num_labeled else [])
    return QueryContext(x.clone(), pool, y[:num_labeled], 10, generator(0, "walk"), classifier, 1)


def refused(build, argument):
    """Whether it is refused, by the name of the argument and in one line."""
    try:
        build()
    except ValueError as error:
        assert str(error).startswith(f"{argument}="), error
        assert "\n" not in str(error)
        return True
    return False


@pytest.mark.parametrize(("name", "argument", "value", "wrong"), list(cases(STRATEGIES)))
def test_strategies(name, argument, value, wrong):
    def build():
        return STRATEGIES.build(name, **{**SMALLER.get(name, {}), argument: value})

    if refused(build, argument):
        return
    assert not wrong
    for num_labeled in (0, 20):
        now = context(num_labeled)
        validate_query(build().query(now, 5), now, 5, name)


@pytest.mark.parametrize(("name", "argument", "value", "wrong"), list(cases(CLASSIFIERS)))
def test_classifiers(name, argument, value, wrong):
    x, y = digits()

    def fitted():
        rows = 5 if argument == "num_classes" else 60
        return CLASSIFIERS.build(name, **{"num_classes": 10, argument: value}).fit(
            x[:rows], y[:rows] % 1 if argument == "num_classes" else y[:rows]
        )

    if refused(fitted, argument):
        return
    assert not wrong
    model = fitted()
    for values in (model.logits(x), model.probabilities(x)):
        assert values.shape == (len(x), model.num_classes)
        assert torch.isfinite(values).all()
    if hasattr(model, "samples"):
        assert torch.isfinite(model.samples(x, generator(0, "walk"))).all()


NESTED = {
    "subsample": lambda name, options: {"base": name, "base_options": options},
    "switch": lambda name, options: {"first": name, "first_options": options},
    "switch, later": lambda name, options: {"then": name, "then_options": options},
    "ensemble": lambda name, options: {"strategies": (name,), "options": {name: options}},
    "tailor": lambda name, options: {"strategies": (name,), "options": {name: options}},
    "refine": lambda name, options: {"strategies": (name,), "final": "random", "options": {name: options}},
    "refine, final": lambda name, options: {"final": name, "options": {name: options}},
    "stochastic": lambda name, options: {"base": name, "base_options": options},
}  # fmt: skip


@pytest.mark.parametrize("combination", NESTED)
def test_options_of_members(combination):
    """What a strategy refuses, strategies that are made of it refuse in their own words."""
    own = combination.partition(",")[0]
    for name, argument, _ in parameters(STRATEGIES):
        scores = hasattr(STRATEGIES[name], "score")
        if name == own or (own == "stochastic" and not scores):
            continue
        for value in NEVER:
            arguments = NESTED[combination](name, {argument: value})
            key = next(key for key in reversed(arguments) if key.endswith("options"))
            try:
                STRATEGIES.build(own, **arguments)
            except ValueError as error:
                assert str(error).startswith(key)
                assert f"{argument}=" in str(error)
            else:
                raise AssertionError(f"{arguments} of {own} is accepted")


@pytest.mark.parametrize("combination", NESTED)
@pytest.mark.parametrize("options", [{"no_such": 1}, {3: 4}, "margin", [], 7])
def test_options_that_no_member_knows(combination, options):
    own = combination.partition(",")[0]
    arguments = NESTED[combination]("margin", options)
    key = next(key for key in reversed(arguments) if key.endswith("options"))
    assert refused(lambda: STRATEGIES.build(own, **arguments), key)


@pytest.mark.parametrize("combination", NESTED)
@pytest.mark.parametrize("member", ["no such strategy", "", 3, None, ("margin",)])
def test_members_that_do_not_exist(combination, member):
    own = combination.partition(",")[0]
    arguments = {
        k: v for k, v in NESTED[combination](member, {}).items() if not k.endswith("options")
    }
    key = next(k for k, v in arguments.items() if v in (member, (member,)))
    assert refused(lambda: STRATEGIES.build(own, **arguments), key)
