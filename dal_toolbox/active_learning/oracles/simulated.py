"""The oracle of a simulation."""

import numpy as np

from dal_toolbox.active_learning.oracles.base import ORACLES
from dal_toolbox.errors import UserError


class NoTarget(UserError, ValueError):
    """An item of the simulation whose class nobody knows."""


@ORACLES.register("simulated")
class SimulatedOracle:
    """Answers with known targets, and reads those of the items it is asked for only.

    Args:
        targets: Class of every item of the pool, int64, −1 where it is unknown. Shape: (n,).

    Attributes:
        num_labels: Answers given so far.
    """

    num_labels: int

    def __init__(self, targets: np.ndarray) -> None:
        self.targets = targets
        self.num_labels = 0

    def label(self, indices: np.ndarray) -> np.ndarray:
        """Targets of the items.

        Raises:
            NoTarget: The target of an item is −1.
        """
        labels = np.asarray(self.targets[indices], dtype=np.int64)
        if (labels < 0).any():
            raise NoTarget(
                f"item {indices[labels < 0][0]} has no known class: a simulation needs them all; let a "
                f"person answer (oracle 'file'), or leave unlabeled items out of the pool"
            )
        self.num_labels += len(labels)
        return labels

    def reveal(self) -> np.ndarray:
        """All targets. Only for what is declared to look at labels that were not bought."""
        return np.asarray(self.targets, dtype=np.int64)
