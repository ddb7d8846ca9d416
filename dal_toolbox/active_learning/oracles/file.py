"""A person answers by a file: a table to fill in, cycle by cycle."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from dal_toolbox.active_learning.journal import SET_ASIDE, Journal
from dal_toolbox.active_learning.oracles.base import ORACLES
from dal_toolbox.datasets.names import as_text
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_text, write_text
from dal_toolbox.progress import log

SKIP = "?"


class LabelsWanted(UserError):
    """No mistake: the run waits for a person.

    Attributes:
        indices: Items without an answer.
        file: The table to fill in.
    """

    def __init__(self, indices: np.ndarray, file: Path) -> None:
        super().__init__(f"{len(indices)} labels are wanted in {file}")
        self.indices = indices
        self.file = file


@ORACLES.register("file")
class FileOracle:
    """Writes ``to_label.csv`` and reads the answers back at the next start of the same command.

    The table has the columns ``file`` and ``label``. A label is the name of a class; one that is not
    known yet becomes a new class. ``?`` sets an item aside. The last line of a file counts, and a line
    for an item of an earlier cycle corrects it. Tables that a spreadsheet saved as Latin-1 are read, too.

    Args:
        folder: Folder of the run.
        names: Names of the items of the pool.
        locate: Gives the path of an item from its name, to be opened by a person; None if unknown.
        table: Another place of the table.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        locate: Callable[[str], Path | None],
        *,
        table: str | None = None,
    ) -> None:
        if table == "":
            raise ValueError("table='': must be the path of a CSV file")
        self.file = folder / "to_label.csv" if table is None else Path(table)
        self.names = names
        self.locate = locate

    def label(self, indices: np.ndarray) -> np.ndarray:
        """Always raises :class:`LabelsWanted`: what was answered is in the journal already."""
        raise LabelsWanted(indices, self.file)

    def read(self, journal: Journal) -> int:
        """Tells a journal the answers of the table that it does not have yet; returns their number.

        Raises:
            UserError: A line of the table names no item; nothing is told then.
        """
        rows = _rows(self.names)
        answers: dict[int, str] = {}
        for number, (name, label) in enumerate(_lines(self.file), 2):
            if not name and not label:  # spreadsheets end with lines of delimiters
                continue
            name = name if name in rows else as_text(name)
            if name not in rows:
                near = get_close_matches(name, rows, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise UserError(f"{self.file}, line {number}: no item '{name}'.{hint}")
            if label:
                answers[rows[name]] = label
        known = list(journal.classes or ())
        told = {row: _number(label, journal) for row, label in answers.items()}
        new = {row: label for row, label in told.items() if journal.labels.get(row) != label}
        _mention_new_classes(known, journal)
        journal.tell(np.array(list(new), dtype=np.int64), list(new.values()))
        return len(new)

    def write(self, indices: Sequence[int], labels: Mapping[int, str]) -> None:
        """Writes the table of the items that are asked for, with the answers so far."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "label", "path"])
        for index in indices:
            name = self.names[index]
            writer.writerow([name, labels.get(index, ""), self.locate(name) or ""])
        write_text(self.file, text.getvalue())


def _rows(names: Sequence[str]) -> dict[str, int]:
    """The rows of names, and of what a table in another encoding makes of them where it is unique."""
    texts = Counter(map(as_text, names))
    rows = {as_text(name): row for row, name in enumerate(names) if texts[as_text(name)] == 1}
    return rows | {name: row for row, name in enumerate(names)}


def _number(label: str, journal: Journal) -> int:
    return SET_ASIDE if label == SKIP else journal.class_of(label)


def _mention_new_classes(known: list[str], journal: Journal) -> None:
    for name in (journal.classes or [])[len(known) :]:
        near = get_close_matches(name, known, n=1)
        log.info("new class '%s'%s", name, f" (is it '{near[0]}'?)" if near else "")


def _lines(file: Path) -> list[tuple[str, str]]:
    """File and label of every line; spreadsheets write other delimiters, and a mark in front."""
    if not file.exists():
        return []
    text = read_text(file).removeprefix("\ufeff")
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"{file} is no CSV: {error}") from error
    wanted = {"file", "label"}
    if not wanted <= set(reader.fieldnames or ()):
        raise UserError(f"{file} needs the columns file and label in its first line, not '{head}'")
    return [(row["file"] or "", as_text(row["label"] or "").strip()) for row in rows]
