"""Results of the cycles, and the file that they are kept in."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dal_toolbox.errors import UserError
from dal_toolbox.io import append_lines, read_lines


@dataclass(frozen=True)
class CycleResult:
    """One point of the learning curve.

    Cycle 0 is the state after the initial selection, cycle k the state after k queries.

    Args:
        cycle: 0, 1, 2, …
        queried: Dataset indices labeled to reach this state, in order of choice.
        labels: What the oracle answered, in the same order.
        num_labeled: All labels bought so far.
        metrics: Of the classifier fitted to them.
        seconds: Duration of ``"query"``, ``"fit"`` and ``"evaluate"``.

    >>> result = CycleResult(0, (7, 3), (1, 0), 2, {"accuracy": 0.5}, {"query": 0.0})
    >>> CycleResult.from_json(result.to_json()) == result
    True
    """

    cycle: int
    queried: tuple[int, ...]
    labels: tuple[int, ...]
    num_labeled: int
    metrics: dict[str, float]
    seconds: dict[str, float]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "CycleResult":
        """Inverse of ``to_json``; raises UserError where the fields do not fit."""
        return _from_record(json.loads(line))


def read_results(path: Path) -> list[CycleResult]:
    """Results of a file, none where it does not exist; an incomplete last line is ignored.

    Raises:
        UserError: A complete line is no result.
    """
    return [_from_record(record) for record in read_lines(path)]


def append_result(path: Path, result: CycleResult) -> None:
    """Adds a line, in place of an incomplete last line if there is one, and waits for the disk."""
    append_lines(path, [asdict(result)])


def _from_record(record: dict) -> CycleResult:
    try:
        lists = {name: tuple(record[name]) for name in ("queried", "labels")}
        return CycleResult(**{**record, **lists})
    except (KeyError, TypeError) as error:
        raise UserError(f"not the result of a cycle: {str(record)[:80]}") from error
