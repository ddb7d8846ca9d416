"""Results of the cycles, and the file that they are kept in."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dal_toolbox.active_learning.journal import SET_ASIDE, Journal
from dal_toolbox.errors import UserError
from dal_toolbox.io import append_lines, read_lines, write_text


@dataclass(frozen=True)
class CycleResult:
    """One point of the learning curve.

    Cycle 0 is the state after the initial selection, cycle k the state after k queries.

    Args:
        cycle: 0, 1, 2, …
        queried: Dataset indices asked for to reach this state, in order of choice.
        labels: What the oracle answered, in the same order; -1 if an item was set aside.
        num_labeled: All labels bought so far.
        metrics: Metrics of the classifier fitted to them; none where nothing can be measured.
        seconds: Duration of ``"query"``, ``"fit"`` and ``"evaluate"``.
        names: Names of the queried items, where they have some.

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
    names: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "CycleResult":
        """Inverse of ``to_json``; raises UserError where the fields do not fit."""
        return _from_record(json.loads(line), "the line")


def read_results(path: Path) -> list[CycleResult]:
    """Results of a file, none where it does not exist; an incomplete last line is ignored.

    Raises:
        UserError: A complete line is no result, or does not follow the ones before it.
    """
    results: list[CycleResult] = []
    seen: set[int] = set()
    for number, record in enumerate(read_lines(path), 1):
        place = f"{path}, line {number}"
        result = _from_record(record, place)
        twice = seen.intersection(result.queried)
        if result.cycle != len(results) or twice:
            why = f"item {min(twice)} a second time" if twice else f"cycle {result.cycle}"
            raise UserError(f"{place} holds {why} after {len(results)} cycles; repair or remove it")
        seen.update(result.queried)
        results.append(result)
    return results


def append_result(path: Path, result: CycleResult) -> None:
    """Adds a line, in place of an incomplete last line if there is one, and waits for the disk."""
    append_lines(path, [asdict(result)])


def write_picks(path: Path, results: Sequence[CycleResult], classes: Sequence[str]) -> None:
    """Writes a table for people: cycle, order, file and label of every item asked for."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cycle", "order", "file", "label"])
    order = 0
    for result in results:
        names = result.names or result.queried
        for name, label in zip(names, result.labels, strict=True):
            order += 1
            shown = "?" if label == SET_ASIDE else classes[label]
            writer.writerow([result.cycle, order, name, shown])
    write_text(path, text.getvalue())


def resumable(results: Sequence[CycleResult], journal: Journal, path: Path) -> list[CycleResult]:
    """Results with the indices that their items have now, and the last labels of the journal.

    Args:
        results: What :func:`read_results` found.
        journal: The journal of the same run.
        path: The file of the results, to be named in messages.

    Raises:
        UserError: Results and journal contradict each other.
    """
    current = []
    for number, result in enumerate(results, 1):
        rows = journal.rows_of(result.names, result.queried)
        for row, label in zip(rows, result.labels, strict=True):
            if label not in journal.told.get(row, ()):
                raise UserError(
                    f"{path}, line {number}: label {label} of item {row} is not in {journal.path}; "
                    f"one of the two files was changed: put it back, or choose another output_dir"
                )
        labels = tuple(journal.labels[row] for row in rows)
        current.append(replace(result, queried=tuple(rows), labels=labels))
    return current


def _from_record(record: dict, place: str) -> CycleResult:
    try:
        lists = {name: tuple(record[name]) for name in ("queried", "labels")}
        result = CycleResult(**{**record, **lists, "names": tuple(record.get("names", ()))})
        good = _is_sound(result)
    except (KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise UserError(
            f"{place} is not the result of a cycle: {str(record)[:80]}; repair or remove it"
        )
    return result


def _is_sound(result: CycleResult) -> bool:
    n = len(result.queried)
    integers = (result.cycle, result.num_labeled, *result.queried)
    return (
        all(_is_integer(value, 0) for value in integers)
        and all(_is_integer(label, SET_ASIDE) for label in result.labels)
        and len(set(result.queried)) == n == len(result.labels)
        and len(result.names) in (0, n)
        and all(isinstance(value, str) for value in result.names)
        and all(_is_number(value) for value in result.metrics.values())
        and all(_is_number(value) for value in result.seconds.values())
    )


def _is_integer(value: Any, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _is_number(value: Any) -> bool:
    # None: a number that was not finite.
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
