"""Labels are written down as soon as they are bought."""

import sys
import traceback
from pathlib import Path

import numpy as np

from dal_toolbox.active_learning.journal import Journal
from dal_toolbox.active_learning.oracles.base import Oracle
from dal_toolbox.errors import UserError


class JournaledOracle:
    """Writes every answer of an oracle into a journal, and never asks it for the same item again.

    A run that crashed asks for the same items when it is repeated, as its queries are functions
    of the seed; their labels then come from the journal. Answers are checked before they are
    written: one that is no class is named, those beside it are kept.

    Args:
        oracle: Who answers.
        journal: The journal, or its path.
        batch_size: Items that the oracle is asked for at once. What it has answered of an
            unfinished batch is lost in a crash; None asks for all.
    """

    def __init__(
        self, oracle: Oracle, journal: Journal | Path, *, batch_size: int | None = 1
    ) -> None:
        self.oracle = oracle
        self.journal = Journal(journal) if isinstance(journal, Path) else journal
        self.batch_size = batch_size

    def label(self, indices: np.ndarray) -> np.ndarray:
        """Classes of the items, -1 where the oracle set one aside.

        Raises:
            UserError: The oracle failed, or an answer is no class.
        """
        known = self.journal.labels
        unknown = np.array([i for i in indices.tolist() if i not in known], dtype=np.int64)
        if len(indices):  # also where all are answered: the n-th batch is that of the n-th cycle
            self.journal.ask(indices)
        size = self.batch_size or max(1, len(unknown))
        for start in range(0, len(unknown), size):
            self._ask(unknown[start : start + size])
        return np.array([known[i] for i in indices.tolist()], dtype=np.int64)

    def _ask(self, indices: np.ndarray) -> None:
        try:
            labels = np.asarray(self.oracle.label(indices))
        except UserError:
            raise
        except Exception as error:
            raise UserError(self._failure(error)) from error
        if labels.shape != indices.shape:
            raise UserError(
                f"{self._who} gave answers of shape {labels.shape} for {len(indices)} items"
            )
        try:
            self.journal.tell(indices, list(labels))
        except UserError as error:
            raise UserError(f"{self._who}: {error}; the labels before it are kept") from error

    @property
    def _who(self) -> str:
        return f"oracle {type(self.oracle).__name__}"

    def _failure(self, error: Exception) -> str:
        where = traceback.extract_tb(sys.exc_info()[2])[-1]
        return (
            f"{self._who} failed: {type(error).__name__}: {error} ({Path(where.filename).name}, "
            f"line {where.lineno}); all labels so far are kept, and the same command goes on"
        )
