import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning import (
    CycleResult,
    Pool,
    append_result,
    evaluation_on,
    read_results,
    run_cycles,
)
from dal_toolbox.active_learning._situations import blobs
from dal_toolbox.active_learning.initial import INITIAL
from dal_toolbox.active_learning.oracles import ORACLES
from dal_toolbox.active_learning.strategies import STRATEGIES, QueryStrategy
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import knn_graph

FEATURES, TARGETS = blobs(90)


def run(strategy="margin", **changes):
    settings = {
        "features": FEATURES[:60],
        "strategy": STRATEGIES.build(strategy) if isinstance(strategy, str) else strategy,
        "oracle": ORACLES.build("simulated", targets=TARGETS[:60]),
        "make_classifier": partial(LinearClassifier, 3),
        "evaluate": evaluation_on(FEATURES[60:], torch.from_numpy(TARGETS[60:])),
        "initial": INITIAL.build("random"),
        "num_classes": 3,
        "num_initial": 4,
        "query_size": 5,
        "num_cycles": 3,
        "seed": 0,
    }
    return run_cycles(**{**settings, **changes})


def without_seconds(results: list[CycleResult]) -> list[CycleResult]:
    return [replace(result, seconds={}) for result in results]


def test_a_run_end_to_end():
    pool = Pool(60)
    results = list(run(pool=pool))
    assert [r.cycle for r in results] == [0, 1, 2, 3]
    assert [r.num_labeled for r in results] == [4, 9, 14, 19]
    assert pool.labeled.tolist() == [i for r in results for i in r.queried]
    for r in results:
        assert list(r.labels) == TARGETS[list(r.queried)].tolist()
        assert set(r.metrics) == {"accuracy", "macro_accuracy", "nll", "brier", "ece"}
        assert set(r.seconds) == {"query", "fit", "evaluate"}
        assert all(np.isfinite(v) for v in r.metrics.values())
    assert results[-1].metrics["accuracy"] > 0.9


def test_strategies_share_the_initial_items_and_seeds_do_not():
    first = {name: next(run(name)).queried for name in STRATEGIES}
    assert len(set(first.values())) == 1
    assert next(run(seed=1)).queried != first["random"]


# Every strategy is resumed by the contract tests, too (at one place).
@pytest.mark.parametrize("strategy", ["random", "margin", "typiclust"])
@pytest.mark.parametrize("done", [0, 1, 2, 3, 4])
def test_resumed_equals_undisturbed(strategy, done, tmp_path):
    whole = list(run(strategy))
    path = tmp_path / "results.jsonl"
    for result in whole[:done]:
        append_result(path, result)
    if done < 4:  # killed while it wrote the next line
        with path.open("a") as file:
            file.write(whole[done].to_json()[:50])
    rest = list(run(strategy, resume=read_results(path)))
    assert without_seconds(whole[:done] + rest) == without_seconds(whole)


def test_the_last_query_takes_what_is_left(caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        results = list(run(query_size=25, num_cycles=10))
    assert [r.num_labeled for r in results] == [4, 29, 54, 60]
    assert "all 60 items are labeled after 3 queries" in caplog.text
    assert list(run(query_size=25, num_cycles=10, resume=results)) == []
    assert [r.num_labeled for r in run(num_initial=60)] == [60]


def test_features_of_the_store_are_asked_for_what_they_cache():
    calls: list[str] = []

    class Stored:
        values = FEATURES[:60]

        def normalized(self):
            calls.append("normalized")
            return torch.nn.functional.normalize(self.values, dim=1)

        def neighbors(self, k):
            calls.append("neighbors")
            return knn_graph(self.values, k, metric="cosine")

    class Dense(QueryStrategy):
        def query(self, context, n):
            density = -context.neighbors(3).distances.mean(1)[context.unlabeled]
            return context.unlabeled[density.argsort(descending=True)[:n].numpy()]

    stored = list(run("typiclust", features=Stored()))
    assert without_seconds(stored) == without_seconds(list(run("typiclust")))
    assert calls == ["normalized"]
    assert without_seconds(list(run(Dense(), features=Stored()))) == without_seconds(
        list(run(Dense()))
    )


def test_only_bought_targets_are_read():
    bought: set[int] = set()

    class Targets:
        def __getitem__(self, indices):
            bought.update(indices.tolist())
            return TARGETS[indices]

        def __array__(self, *args, **options):
            raise AssertionError("all targets were read")

    results = list(run("entropy", oracle=ORACLES.build("simulated", targets=Targets())))
    assert bought == {i for r in results for i in r.queried}


class Fixed(QueryStrategy):
    def __init__(self, answer):
        self.answer = answer

    def query(self, context, n):
        return self.answer(context, n)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda c, n: c.unlabeled[: n - 1], r"shape \(4,\) when n=5"),
        (lambda c, n: c.unlabeled[[0] * n], "more than once"),
        (lambda c, n: np.r_[c.labeled[:1], c.unlabeled[: n - 1]], "labeled already"),
        (lambda c, n: c.unlabeled[:n].tolist(), "list, not a numpy array"),
        (lambda c, n: c.unlabeled[:n].astype(np.int32), "int32"),
        (lambda c, n: c.unlabeled[:n] + 1000, "outside of the pool"),
    ],
)
def test_a_strategy_that_breaks_the_contract_is_named(answer, message):
    cycles = run(Fixed(answer))
    next(cycles)
    with pytest.raises(ValueError, match=f"Fixed.*{message}"):
        next(cycles)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_initial": 0}, "num_initial=0 of a pool of 60"),
        ({"num_initial": 61}, "num_initial=61"),
        ({"query_size": 0}, "query_size=0"),
        ({"num_cycles": -1}, "num_cycles=-1"),
        ({"num_classes": 2}, "SimulatedOracle.*no 4 classes of 0 to 1"),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    with pytest.raises(UserError, match=message):
        list(run(**changes))


def test_results_of_another_run_are_refused():
    results = list(run())
    with pytest.raises(UserError, match="cycle 0 with 6 labels is next"):
        list(run(resume=results, num_initial=6))
    with pytest.raises(UserError, match="cycle 1 with 5 labels is next"):
        list(run(resume=[results[0], results[2]]))


def test_a_used_or_wrong_pool_is_refused():
    for pool in (Pool(61), Pool.from_history(60, [np.array([1])])):
        with pytest.raises(ValueError, match="a fresh pool"):
            list(run(pool=pool))
