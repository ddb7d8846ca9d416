"""What an oracle is, and the registry of oracles."""

from typing import Protocol

import numpy as np

from dal_toolbox.registry import Registry


class Oracle(Protocol):
    """Answers what class an item has: a person, or the known targets in a simulation."""

    def label(self, indices: np.ndarray) -> np.ndarray:
        """Classes of the items with these dataset indices, int64, in the same order."""
        ...


ORACLES: Registry[Oracle] = Registry(
    "oracle", package="dal_toolbox.active_learning.oracles", entry_points="dal_toolbox.oracles"
)
