"""Base classes and registry of query strategies."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import NoClassifier, QueryContext
from dal_toolbox.active_learning.pool import check_unlabeled
from dal_toolbox.classifiers import Classifier, with_posterior
from dal_toolbox.progress import log
from dal_toolbox.registry import Registry

FEATURES = frozenset({"features"})
PREDICTIONS = frozenset({"predictions"})
POSTERIOR = frozenset({"posterior"})


class QueryStrategy(ABC):
    """Chooses the items to be labeled next.

    A strategy is registered with ``@STRATEGIES.register("name")``; its hyperparameters are keyword
    arguments of the constructor with defaults. It keeps no state between queries: all it knows is
    in the context, all randomness is ``context.rng``. Without labels (cold start) it works, or
    says in its docstring and in the log what it does instead.
    ``dal_toolbox.active_learning.testing.check_strategy`` tests these rules.
    """

    needs: frozenset[str] = FEATURES | PREDICTIONS
    """What picks depend on: ``features`` of the pool, ``predictions`` of the classifier, draws from
    its ``posterior``. A strategy made of others needs what they need."""

    @property
    def starts_cold(self) -> bool:
        """Whether the strategy makes choices of its own without any label.

        One that needs the classifier draws at random then; if it does better, it overrides this.
        """
        return not self.needs & (PREDICTIONS | POSTERIOR)

    @abstractmethod
    def query(self, context: QueryContext, n: int) -> np.ndarray:
        """Returns n distinct indices out of ``context.unlabeled``, int64, in order of choice.

        Raises:
            ValueError: More items are asked for than there are.
        """


class ScoreStrategy(QueryStrategy, ABC):
    """Takes the items with the largest scores; ties are broken by ``context.rng``.

    A score that needs the classifier falls back to random choice at cold start, with a log line.
    """

    @abstractmethod
    def score(self, context: QueryContext) -> Tensor:
        """How much each item of ``context.unlabeled`` is wanted. Shape: (n_unlabeled,)."""

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        try:
            scores = checked_scores(
                self.score(context), len(context.unlabeled), type(self).__name__
            )
        except NoClassifier:
            return random_query(context, n, instead_of=type(self).__name__)
        shuffled = context.rng.permutation(len(scores))
        order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
        return context.unlabeled[order[:n]]


STRATEGIES: Registry[QueryStrategy] = Registry(
    "query strategy",
    package="dal_toolbox.active_learning.strategies",
    entry_points="dal_toolbox.strategies",
)


def check_needs(strategy: QueryStrategy, classifier: Callable[..., Classifier]) -> None:
    """Tells before any data is opened whether a classifier has what a strategy needs.

    Args:
        strategy: A strategy.
        classifier: Class of the classifier, or a ``partial`` of it.

    Raises:
        ValueError: The strategy needs a posterior and the classifier has none; the message names
            the classifiers that have one.
    """
    while isinstance(classifier, partial):
        classifier = classifier.func
    if strategy.needs >= POSTERIOR and not hasattr(classifier, "samples"):
        name = getattr(classifier, "__name__", classifier)
        raise ValueError(
            f"{type(strategy).__name__} draws from the posterior of the classifier, and {name} has "
            f"none; classifiers that have one: {', '.join(with_posterior())}"
        )


def random_query(context: QueryContext, n: int, *, instead_of: str | None = None) -> np.ndarray:
    """Draws n unlabeled items; ``instead_of`` names in the log the strategy that gave way."""
    check_size(context, n)
    if instead_of is not None:
        log.info("%s needs a classifier: %d items are drawn at random instead", instead_of, n)
    return context.rng.permutation(context.unlabeled)[:n]


def check_size(context: QueryContext, n: int) -> None:
    """Raises ValueError where n items cannot be chosen."""
    if not 0 <= n <= len(context.unlabeled):
        raise ValueError(f"n={n} items asked of {len(context.unlabeled)} unlabeled ones")


def validate_query(indices: object, context: QueryContext, n: int, strategy: str) -> np.ndarray:
    """What a strategy returned, if it keeps the contract.

    Raises:
        ValueError: Not n distinct candidates as an int64 array; the message names the strategy.
    """
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64:
        kind = getattr(indices, "dtype", type(indices).__name__)
        raise ValueError(f"{strategy} returned {kind}, not a numpy array of int64")
    if indices.shape != (n,):
        raise ValueError(
            f"{strategy} returned shape {indices.shape} when n={n} items were asked for"
        )
    try:
        indices = check_unlabeled(indices, context.pool)
    except ValueError as error:
        raise ValueError(f"{strategy} broke the contract: {error}") from error
    if not np.isin(indices, context.unlabeled).all():
        raise ValueError(f"{strategy} chose items that are not among the candidates")
    return indices


def checked_scores(scores: Tensor, size: int, strategy: str) -> np.ndarray:
    """Scores as float64 on the CPU.

    Raises:
        ValueError: Not one number for each of the ``size`` items; the message names the strategy.
    """
    if scores.shape != (size,):
        raise ValueError(f"{strategy} scored {tuple(scores.shape)} instead of ({size},) items")
    if scores.isnan().any():
        raise ValueError(f"{strategy} scored {int(scores.isnan().sum())} of {size} items NaN")
    return scores.detach().to("cpu", torch.float64).numpy()
