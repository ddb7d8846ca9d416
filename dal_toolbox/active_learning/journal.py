"""What was asked and answered in a run, event by event: nothing that was paid for is ever lost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dal_toolbox.errors import UserError
from dal_toolbox.io import append_lines, read_lines

SET_ASIDE = -1


class Items(Protocol):
    """Tells items apart by what they are: ``dal_toolbox.features.Features`` does."""

    @property
    def names(self) -> Sequence[str]: ...
    def content(self, indices: np.ndarray) -> list[str]:
        """Short digests of the items' content."""
        ...


class Journal:
    """An append-only file of events: replaying them gives the labels.

    A label belongs to an item, not to a row number: each line holds the item's name and a digest of
    its content, and the name of the class. Items may be added to a pool, and classes to a run; labels
    stay with what they were given to. The last label of an item counts.

    Lines are ``{"asked": [index, …], "names": […]}`` and ``{"index": …, "label": …, "class": …,
    "name": …, "content": …}``; label -1 sets an item aside.

    Args:
        path: The file, which may hold events already.
        items: The items of the pool; without them, items are their indices.
        classes: Names of the known classes; without them, any label of at least 0 is taken.

    Raises:
        UserError: A line is damaged, or its item is gone or another one now; the message names file
            and line.
    """

    def __init__(
        self, path: Path, *, items: Items | None = None, classes: Sequence[str] | None = None
    ) -> None:
        self.path = path
        self.items = items
        self.classes = None if classes is None else list(classes)
        self.labels: dict[int, int] = {}
        """Class of every answered item by its index, -1 if it is set aside."""
        self.told: dict[int, set[int]] = {}
        """All labels that an item ever had, as numbers of the time."""
        self.asked: list[list[int]] = []
        """Indices of the items that were asked for together, batch by batch."""
        self._rows = None if items is None else _rows_by_name(items.names)
        self._replay(read_lines(path))

    def ask(self, indices: np.ndarray) -> None:
        """Writes down which items are asked for, before anybody is; a known batch is not repeated."""
        batch = indices.tolist()
        if batch in self.asked:
            return
        self.asked.append(batch)
        record: dict[str, Any] = {"asked": batch}
        if self.items is not None:
            record["names"] = [self.items.names[i] for i in batch]
        append_lines(self.path, [record])

    def tell(self, indices: np.ndarray, labels: Sequence[int]) -> None:
        """Writes answers down; telling again corrects.

        Raises:
            UserError: A label is no class. The others are written down all the same.
        """
        pairs = list(zip(indices.tolist(), labels, strict=True))
        good = [(index, int(label)) for index, label in pairs if self._is_label(label)]
        if good:
            append_lines(self.path, self._records(good))
            for index, label in good:
                self._take(index, label)
        bad = [(index, label) for index, label in pairs if not self._is_label(label)]
        if bad:
            index, label = bad[0]
            label = label.item() if isinstance(label, np.generic) else label
            raise UserError(f"label {label!r} of item {self._name(index)} is {self._wanted}")

    def class_of(self, name: str) -> int:
        """Number of a class; a name that is not known yet becomes the next class."""
        if self.classes is None:
            raise ValueError("this journal has no class names")
        if name not in self.classes:
            self.classes.append(name)
        return self.classes.index(name)

    def rows_of(self, names: Sequence[str], indices: Sequence[int]) -> list[int]:
        """Indices now of items that had these names, or without names these indices, before.

        Raises:
            UserError: An item is not in the pool any more.
        """
        if self._rows is None or not names:
            return list(indices)
        missing = [name for name in names if name not in self._rows]
        if missing:
            raise UserError(
                f"'{missing[0]}' was asked for or labeled in this run and is not in the pool now "
                f"({len(self._rows)} items); put it back, or choose another output_dir"
            )
        return [self._rows[name] for name in names]

    @property
    def _wanted(self) -> str:
        if self.classes is None:
            return "no class: an integer of at least 0, or -1 to set the item aside"
        last = len(self.classes) - 1
        return f"no class: an integer from 0 to {last}, or -1 to set the item aside"

    def _is_label(self, label: object) -> bool:
        if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
            return False
        number = int(label)
        return number >= SET_ASIDE and (self.classes is None or number < len(self.classes))

    def _name(self, index: int) -> str:
        return str(index) if self.items is None else f"'{self.items.names[index]}'"

    def _records(self, pairs: Iterable[tuple[int, int]]) -> list[dict]:
        pairs = list(pairs)
        records: list[dict] = [{"index": index, "label": label} for index, label in pairs]
        if self.classes is not None:
            for record, (_, label) in zip(records, pairs, strict=True):
                record["class"] = None if label == SET_ASIDE else self.classes[label]
        if self.items is not None:
            contents = self.items.content(np.array([index for index, _ in pairs], dtype=np.int64))
            for record, content in zip(records, contents, strict=True):
                record |= {"name": self.items.names[record["index"]], "content": content}
        return records

    def _take(self, index: int, label: int) -> None:
        self.labels[index] = label
        self.told.setdefault(index, set()).add(label)

    def _replay(self, records: list[dict]) -> None:
        lines = [_Line(record, f"{self.path}, line {n}") for n, record in enumerate(records, 1)]
        answers = []
        for line in lines:
            if "asked" in line.record:
                indices, names = line.asked()
                self.asked.append(self.rows_of(names, indices))
                continue
            index, label, name, _ = line.answer()
            index = index if name is None else self.rows_of([name], [index])[0]
            if self.items is not None and index >= len(self.items.names):
                raise UserError(f"{line.place}: item {index} of {len(self.items.names)}")
            self._take(index, label)
            self.labels[index] = self._class_now(line, label)
            answers.append((index, line))
        self._check_content(answers)

    def _class_now(self, line: "_Line", label: int) -> int:
        """The class by its name: numbers change when a class is added."""
        name = line.record.get("class")
        if self.classes is None or label == SET_ASIDE:
            return label
        if isinstance(name, str):
            return self.class_of(name)
        if not self._is_label(label):
            raise UserError(f"{line.place}: label {label} is {self._wanted}")
        return label

    def _check_content(self, answers: list[tuple[int, "_Line"]]) -> None:
        known = [(index, line) for index, line in answers if line.record.get("content")]
        if self.items is None or not known:
            return
        now = self.items.content(np.array([index for index, _ in known], dtype=np.int64))
        for content, (_, line) in zip(now, known, strict=True):
            if content != line.record["content"]:
                raise UserError(
                    f"{line.place}: '{line.record['name']}' has another content than when it was "
                    f"labeled; put the data back, or choose another output_dir"
                )


class _Line:
    """A line of the file, read strictly: a label that was paid for is never guessed."""

    def __init__(self, record: dict, place: str) -> None:
        self.record = record
        self.place = place

    def asked(self) -> tuple[list[int], list[str]]:
        indices, names = self.record["asked"], self.record.get("names", [])
        good = isinstance(indices, list) and all(map(_is_index, indices))
        good = good and isinstance(names, list) and len(names) in (0, len(indices))
        if not good:
            raise UserError(f"{self.place} is no list of indices; repair or remove that line")
        return indices, [str(name) for name in names]

    def answer(self) -> tuple[int, int, str | None, str | None]:
        index, label = self.record.get("index"), self.record.get("label")
        is_label = label == SET_ASIDE or _is_index(label)
        if not _is_index(index) or not is_label or isinstance(label, float):
            raise UserError(
                f"{self.place} holds {self.record}, not an index and a label; repair or remove "
                f"that line"
            )
        assert isinstance(index, int) and isinstance(label, int)
        return index, label, self.record.get("name"), self.record.get("content")


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rows_by_name(names: Sequence[str]) -> dict[str, int]:
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise UserError(f"two items are named '{twice}'; labels belong to names, which must differ")
    return rows
