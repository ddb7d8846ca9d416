"""Labels are written down as soon as they are bought."""

from pathlib import Path

import numpy as np

from dal_toolbox.active_learning.oracles.base import Oracle
from dal_toolbox.errors import UserError
from dal_toolbox.io import append_lines, read_lines


class JournaledOracle:
    """Writes every answer of an oracle to a file, and never asks it for the same item again.

    A run that crashed asks for the same items when it is repeated, as its queries are functions
    of the seed; their labels then come from the file. Each line is ``{"index": …, "label": …}``.

    Args:
        oracle: Who answers.
        path: The journal, which may hold answers already.
        batch_size: Items that the oracle is asked for at once. What it has answered of an
            unfinished batch is lost in a crash; None asks for all.
    """

    def __init__(self, oracle: Oracle, path: Path, *, batch_size: int | None = 1) -> None:
        self.oracle = oracle
        self.path = path
        self.batch_size = batch_size
        self.answers = dict(_answer(record, path) for record in read_lines(path))

    def label(self, indices: np.ndarray) -> np.ndarray:
        unknown = np.array([i for i in indices.tolist() if i not in self.answers], dtype=np.int64)
        size = self.batch_size or max(1, len(unknown))
        for start in range(0, len(unknown), size):
            self._ask(unknown[start : start + size])
        return np.array([self.answers[i] for i in indices.tolist()], dtype=np.int64)

    def _ask(self, indices: np.ndarray) -> None:
        labels = self.oracle.label(indices)
        pairs = list(zip(indices.tolist(), labels.tolist(), strict=True))
        append_lines(self.path, [{"index": index, "label": label} for index, label in pairs])
        self.answers.update(pairs)


def _answer(record: dict, path: Path) -> tuple[int, int]:
    try:
        return int(record["index"]), int(record["label"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds {record}, not an index and a label") from error
