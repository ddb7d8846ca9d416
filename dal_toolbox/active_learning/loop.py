"""The active-learning cycle."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from torch import Tensor

from dal_toolbox.active_learning._state import PoolFeatures, RunState
from dal_toolbox.active_learning.context import CHUNK_BYTES
from dal_toolbox.active_learning.initial import InitialSelection
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.pool import Pool
from dal_toolbox.active_learning.records import CycleResult
from dal_toolbox.active_learning.strategies.base import QueryStrategy, validate_query
from dal_toolbox.classifiers import Classifier
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log


def run_cycles(
    features: Tensor | PoolFeatures,
    strategy: QueryStrategy,
    oracle: Oracle,
    *,
    make_classifier: Callable[[], Classifier],
    evaluate: Callable[[Classifier], dict[str, float]],
    initial: InitialSelection,
    num_classes: int,
    num_initial: int,
    query_size: int,
    num_cycles: int,
    seed: int,
    resume: Sequence[CycleResult] = (),
    pending: Sequence[int] = (),
    pool: Pool | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[CycleResult]:
    """Buys labels batch by batch and yields a result for every state of the pool.

    A cycle queries the strategy, asks the oracle, fits a new classifier and evaluates it. Its
    randomness is a function of ``seed`` and the number of the cycle: a resumed run makes the picks
    of an undisturbed one. A label is in a result only after the fit; where it was paid for, wrap
    the oracle into a ``JournaledOracle``, which writes it down at once.

    Args:
        features: The pool. Shape: (n, d).
        strategy: Chooses what to label.
        oracle: Gives the labels.
        make_classifier: Makes a new classifier for every cycle.
        evaluate: Metrics of a fitted classifier, such as :func:`evaluation_on`.
        initial: Chooses the first items.
        num_classes: Number of classes.
        num_initial: Labels before the first query: those of cycle 0.
        query_size: Labels of each further cycle; the last one takes what is left.
        num_cycles: Queries after the initial selection; fewer if the pool is used up.
        seed: Seed of the run.
        resume: Results of the same run, interrupted; only those that follow are yielded.
        pending: Items that the interrupted cycle had asked for: they are asked for again, whatever the
            strategy would choose now.
        pool: A pool without labels, for a caller who wants to watch it.
        chunk_bytes: Bound of the working memory of a chunk.

    Raises:
        UserError: Sizes that do not fit the pool, results of another run, or labels that are no
            class.
        ValueError: The strategy broke its contract.
    """
    state = RunState.of(features, num_classes, pool, chunk_bytes)
    _check_sizes(state.pool.size, num_initial, query_size, num_cycles)
    resume = tuple(resume)  # the caller may add to the list while we yield
    classifier: Classifier | None = None
    for cycle in range(num_cycles + 1):
        n = min(query_size if cycle else num_initial, len(state.pool.unlabeled))
        if n == 0:
            log.info("all %d items are labeled after %d queries", state.pool.size, cycle - 1)
            return
        if cycle < len(resume):
            state.replay(resume[cycle], cycle, n, is_last=cycle == len(resume) - 1)
            continue
        if cycle and classifier is None:  # the first one after the replay
            classifier = state.fit(make_classifier)
        context = state.context(classifier, seed, cycle)
        seconds: dict[str, float] = {}
        with _timed(seconds, "query"):
            if cycle == len(resume) and len(pending):
                queried, n = np.array(pending, dtype=np.int64), len(pending)
            elif cycle == 0:
                queried = initial.select(context, n, strategy=strategy, oracle=oracle)
            else:
                queried = strategy.query(context, n)
        queried = validate_query(queried, context, n, type(strategy if cycle else initial).__name__)
        labels = state.buy(queried, oracle)
        with _timed(seconds, "fit"):
            classifier = state.fit(make_classifier)
        with _timed(seconds, "evaluate"):
            scores = {} if classifier is None else evaluate(classifier)
        yield CycleResult(
            cycle, tuple(queried.tolist()), labels, state.pool.num_labeled, scores, seconds,
            state.names_of(queried),
        )  # fmt: skip


def _check_sizes(size: int, num_initial: int, query_size: int, num_cycles: int) -> None:
    if not 1 <= num_initial <= size:
        raise UserError(
            f"num_initial={num_initial} of a pool of {size}: at least 1 and at most all items "
            f"(they may be chosen by the strategy itself)"
        )
    if query_size < 1 or num_cycles < 0:
        raise UserError(
            f"query_size={query_size} must be at least 1 and num_cycles={num_cycles} at least 0"
        )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
