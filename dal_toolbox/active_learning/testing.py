"""The contract of query strategies as a test, for this package and for plugins.

With pytest, one test for each check::

    CHECKS = strategy_checks(MyStrategy)

    @pytest.mark.parametrize("name", CHECKS)
    def test_contract(name):
        CHECKS[name]()

Without it, ``check_strategy(MyStrategy)`` runs all checks.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dal_toolbox.active_learning._situations import (
    MakeClassifier,
    PosteriorClassifier,
    Situation,
    blobs,
    scaled,
    situations,
)
from dal_toolbox.active_learning._watching import (
    GuardedOracle,
    LargestTensor,
    WatchedClassifier,
    global_states,
    logged,
    other_globals,
    threads,
)
from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.initial.none import ColdStart
from dal_toolbox.active_learning.loop import run_cycles
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.records import CycleResult
from dal_toolbox.active_learning.strategies.base import (
    POSTERIOR,
    PREDICTIONS,
    QueryStrategy,
    random_query,
    validate_query,
)

SCALES = 1e-40, 1e-20, 1e8, 1e18, 1e37, 1e160, float("inf"), float("nan")  # of features

MakeStrategy = Callable[[], QueryStrategy]
Check = Callable[[], None]


def check_strategy(
    make_strategy: MakeStrategy, *, make_classifier: MakeClassifier = PosteriorClassifier
) -> None:
    """Tests whether a strategy keeps the contract.

    Args:
        make_strategy: Makes a new strategy: a class, or a function that chooses hyperparameters.
        make_classifier: Makes a classifier for so many classes; the default has logits and samples.

    Raises:
        AssertionError: The first check that fails; the message names it, and the awkward pool.
    """
    for check in strategy_checks(make_strategy, make_classifier=make_classifier).values():
        check()


def strategy_checks(
    make_strategy: MakeStrategy, *, make_classifier: MakeClassifier = PosteriorClassifier
) -> dict[str, Check]:
    """The checks of ``check_strategy`` by name, each a function without arguments."""
    checks: dict[str, Check] = {}
    for name, situation in situations().items():
        for check in (check_selection, check_repeatable):
            checks[f"{check.__name__[6:]}: {name}"] = partial(
                check, make_strategy, partial(situation.context, make_classifier)
            )
    features, targets = blobs(4000, d=4)
    large = Situation(features, tuple(range(20)), tuple(targets[:20].tolist()))
    context = partial(situations()["ordinary"].context, make_classifier)
    make_large = partial(large.context, make_classifier)
    checks["repeatable: large pool"] = partial(check_repeatable, make_strategy, make_large)
    checks["memory"] = partial(check_memory, make_strategy, make_large)
    checks["too many"] = partial(check_too_many, make_strategy, context)
    checks["candidates"] = partial(check_candidates, make_strategy, context)
    checks["needs"] = partial(check_declared_needs, make_strategy, context)
    cold = partial(situations()["cold start"].context, make_classifier)
    checks["cold start"] = partial(check_cold_start, make_strategy, cold)
    for scale in SCALES:
        make_scaled = partial(scaled(scale).context, make_classifier)
        checks[f"features of size {scale:g}"] = partial(check_extremes, make_strategy, make_scaled)
    checks["labels"] = partial(check_labels, make_strategy, make_classifier)
    checks["resume"] = partial(check_resume, make_strategy, make_classifier)
    return {name: partial(_run, name, make_strategy, check) for name, check in checks.items()}


def check_selection(make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]) -> None:
    """Exactly n distinct candidates for every n; pool and features stay as they were."""
    for n in {0, 1, 3, 10, 10**9}:
        context = make_context()
        n = min(n, len(context.unlabeled))
        features, labeled = context.features.clone(), context.labeled.copy()
        unlabeled = context.unlabeled.copy()
        picks = make_strategy().query(context, n)
        assert torch.equal(features, context.features), "the strategy changed the features"
        same = np.array_equal(labeled, context.labeled)
        same &= np.array_equal(unlabeled, context.unlabeled)
        assert same, "the strategy changed the pool"
        validate_query(picks, context, n, "the strategy")


def check_repeatable(
    make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]
) -> None:
    """The seed alone decides: no global generator, chunk, thread or earlier query."""
    n = min(7, len(make_context().unlabeled))
    expected = make_strategy().query(make_context(), n)

    def same(picks: np.ndarray, what: str) -> None:
        assert np.array_equal(picks, expected), f"{what} changes {expected} to {picks}"

    with other_globals():
        before = global_states()
        same(make_strategy().query(make_context(), n), "the state of a global generator")
        assert before == global_states(), "the strategy draws from a global generator"
    same(make_strategy().query(make_context(chunk_bytes=2**12), n), "a small chunk_bytes")
    with threads(2 if torch.get_num_threads() == 1 else 1):
        same(make_strategy().query(make_context(), n), "the number of threads")
    used = make_strategy()
    used.query(make_context(seed=1), n)
    same(used.query(make_context(), n), "an earlier query of the same object")


def check_too_many(make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]) -> None:
    """More items than there are raise ValueError."""
    context = make_context()
    try:
        make_strategy().query(context, len(context.unlabeled) + 1)
    except ValueError:
        return
    raise AssertionError("a query for more items than there are raises no ValueError")


def check_candidates(
    make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]
) -> None:
    """A context with fewer candidates restricts the choice."""
    context = make_context()
    context = context.restrict(context.unlabeled[1::3])
    n = len(context.unlabeled) // 2
    validate_query(make_strategy().query(context, n), context, n, "the strategy")


def check_declared_needs(
    make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]
) -> None:
    """Nothing is read of the classifier but what ``needs`` declares."""
    strategy, context = make_strategy(), make_context()
    watched = WatchedClassifier(context.classifier)
    expected = strategy.query(replace(context, classifier=watched), 7)
    undeclared = watched.read - strategy.needs
    if strategy.needs >= POSTERIOR:  # its mean is a prediction
        undeclared -= PREDICTIONS
    assert not undeclared, f"needs={set(strategy.needs)} does not name {undeclared}"
    if not strategy.needs & (PREDICTIONS | POSTERIOR):
        picks = make_strategy().query(replace(make_context(), classifier=None), 7)
        assert np.array_equal(picks, expected), "the classifier changes the picks"


def check_cold_start(
    make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]
) -> None:
    """A strategy that ``starts_cold`` does not draw at random instead; others do."""
    strategy = make_strategy()
    with logged() as messages:
        picks = strategy.query(make_context(), 20)
    if not strategy.needs:  # random choice is what it is for
        return
    random = any("at random" in message for message in messages)
    random |= np.array_equal(picks, random_query(make_context(), 20))
    assert random != strategy.starts_cold, (
        f"starts_cold={strategy.starts_cold}, but the items are {'' if random else 'not '}drawn at random"
    )


def check_extremes(make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]) -> None:
    """Distinct candidates, or ValueError for features that cannot be worked with; no endless loop."""
    context = make_context()
    with suppress(ValueError):
        validate_query(make_strategy().query(context, 7), context, 7, "the strategy")


def check_memory(make_strategy: MakeStrategy, make_context: Callable[..., QueryContext]) -> None:
    """No torch tensor of n × n entries."""
    context = make_context(chunk_bytes=2**18)
    with LargestTensor() as largest:
        make_strategy().query(context, 20)
    limit = len(context.features) ** 2 // 4  # a quarter of a boolean n × n matrix
    assert largest.bytes <= limit, f"a tensor of {largest.bytes} bytes; chunk_bytes is {2**18}"


def check_labels(make_strategy: MakeStrategy, make_classifier: MakeClassifier) -> None:
    """No label is read that was not bought."""
    oracle = GuardedOracle(blobs(60)[1])
    results = _simulate(make_strategy(), make_classifier, oracle)
    bought = {index for result in results for index in result.queried}
    assert oracle.read == bought, f"labels read of {sorted(oracle.read - bought)}"


def check_resume(make_strategy: MakeStrategy, make_classifier: MakeClassifier) -> None:
    """A run that was interrupted goes on to the same picks."""
    oracle = GuardedOracle(blobs(60)[1])
    results = _simulate(make_strategy(), make_classifier, oracle)
    resumed = _simulate(make_strategy(), make_classifier, oracle, resume=results[:2])
    for before, after in zip(results[2:], resumed, strict=True):
        assert before.queried == after.queried, f"resumed at cycle 2, cycle {after.cycle} differs"


def _run(name: str, make_strategy: MakeStrategy, check: Check) -> None:
    try:
        check()
    except Exception as error:
        strategy = getattr(make_strategy, "__name__", repr(make_strategy))
        message = f"{strategy} fails the check '{name}': {type(error).__name__}: {error}"
        raise AssertionError(message) from error


def _simulate(
    strategy: QueryStrategy,
    make_classifier: MakeClassifier,
    oracle: Oracle,
    resume: list[CycleResult] | None = None,
) -> list[CycleResult]:
    cycles = run_cycles(
        blobs(60)[0],
        strategy,
        oracle,
        make_classifier=partial(make_classifier, 3),
        evaluate=lambda classifier: {},
        initial=ColdStart(),
        num_classes=3,
        num_initial=6,
        query_size=6,
        num_cycles=3,
        seed=0,
        resume=resume or (),
    )
    return list(cycles)
