"""What an initial selection is, and the registry of them."""

from abc import ABC, abstractmethod

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.oracles import Oracle
from dal_toolbox.active_learning.strategies import QueryStrategy
from dal_toolbox.registry import Registry


class InitialSelection(ABC):
    """Chooses the items that are labeled before the first query."""

    looks_at_labels: bool = False
    """Whether labels that are not bought take part: reported, as it flatters every strategy."""

    @abstractmethod
    def select(
        self, context: QueryContext, n: int, *, strategy: QueryStrategy, oracle: Oracle
    ) -> np.ndarray:
        """Returns n distinct dataset indices, int64, in order of choice.

        Args:
            context: The pool without a label; its ``rng`` is the same for every strategy.
            n: Number of items, at most the size of the pool.
            strategy: The strategy of the run.
            oracle: The oracle of the run.
        """

    def describe(self, strategy: QueryStrategy) -> str:
        """How the first items are chosen, for log and results: ``"at random"``."""
        return f"by {type(self).__name__}"


INITIAL: Registry[InitialSelection] = Registry(
    "initial selection",
    package="dal_toolbox.active_learning.initial",
    entry_points="dal_toolbox.initial",
)
