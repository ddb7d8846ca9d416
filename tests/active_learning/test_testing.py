"""check_strategy finds what it promises to find."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.active_learning.strategies import QueryStrategy, ScoreStrategy
from dal_toolbox.active_learning.testing import check_strategy, strategy_checks


class Good(ScoreStrategy):
    def score(self, context):
        return context.probabilities.square().sum(1)


class GlobalRandom(QueryStrategy):
    def query(self, context, n):
        return np.random.permutation(context.unlabeled)[:n]  # noqa: NPY002


class GlobalTorch(ScoreStrategy):
    def score(self, context):
        return torch.rand(len(context.unlabeled))


class Duplicates(QueryStrategy):
    def query(self, context, n):
        return context.rng.choice(context.unlabeled, n)


class Greedy(QueryStrategy):
    def query(self, context, n):
        return np.arange(n)


class Labels(QueryStrategy):
    def query(self, context, n):
        picks = context.rng.permutation(context.unlabeled)[:n]
        context.pool.label(picks)
        return picks


class Shuffles(QueryStrategy):
    def query(self, context, n):
        context.rng.shuffle(context.unlabeled)
        return context.unlabeled[:n].copy()


class Stateful(ScoreStrategy):
    calls = 0

    def __init__(self):
        self.calls = 0

    def score(self, context):
        self.calls += 1
        return torch.from_numpy(np.sin(self.calls * (context.unlabeled + 1.0)))


class Quadratic(ScoreStrategy):
    def score(self, context):
        x = F.normalize(context.features.double(), dim=1)
        return (x @ x.T).sum(1).round(decimals=6)[context.unlabeled]


class Normalizes(ScoreStrategy):
    def score(self, context):
        context.features.mul_(0.5)
        return torch.zeros(len(context.unlabeled))


class Chunked(ScoreStrategy):
    def score(self, context):
        return torch.from_numpy(np.sin(context.chunk_bytes % 1009 * (context.unlabeled + 1.0)))


class NeedsLabels(QueryStrategy):
    def query(self, context, n):
        return np.sort(context.unlabeled)[:n] if len(context.labels) > 0 else np.array([])


class Ignores(ScoreStrategy):
    def query(self, context, n):
        return np.setdiff1d(np.arange(len(context.features)), context.labeled)[:n]

    def score(self, context):
        raise NotImplementedError


class Generous(QueryStrategy):
    def query(self, context, n):
        return context.rng.permutation(context.unlabeled)[:n]


def test_a_good_strategy_passes():
    check_strategy(Good)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (GlobalRandom, "state of a global generator changes"),
        (GlobalTorch, "state of a global generator changes"),
        (Duplicates, "more than once"),
        (Greedy, "is labeled already"),
        (Labels, "changed the pool"),
        (Shuffles, "changed the pool"),
        (Stateful, "an earlier query of the same object"),
        (Quadratic, "'memory'.*a tensor of 128000000 bytes"),
        (Normalizes, "changed the features"),
        (Chunked, "a small chunk_bytes"),
        (NeedsLabels, "'selection: cold start'.*not a numpy array of int64"),
        (Ignores, "'candidates'.*not among the candidates"),
        (Generous, "'too many'.*no ValueError"),
    ],
)
def test_a_bad_strategy_is_told_why(strategy, message):
    with pytest.raises(AssertionError, match=f"{strategy.__name__} fails the check.*{message}"):
        _run_all(strategy)


def _run_all(strategy):
    """All checks, so that an earlier one does not hide the one that is meant."""
    failures = []
    for check in strategy_checks(strategy).values():
        try:
            check()
        except AssertionError as error:
            failures.append(str(error))
    raise AssertionError("; ".join(failures).replace("\n", " "))
