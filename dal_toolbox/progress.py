"""Progress bars and log lines: one console for everything that a person watches."""

import logging
import os
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dal_toolbox.errors import printable

T = TypeVar("T")
# Names of files and classes are shown as they are: brackets in them are no markup.
console = Console(stderr=True, markup=False, emoji=False)
log = logging.getLogger("dal_toolbox")


class Escaping(logging.Filter):
    """Escapes what a terminal would interpret in the arguments of a log line, for every handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record, and lets it pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_escaped, record.args))
        record.msg = "\n".join(map(printable, str(record.msg).split("\n")))
        return True


log.addFilter(Escaping())


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A rich progress display; silent where standard error is no terminal.

    Titles and notes are shown as they are. A task may have a ``unit``: what its numbers count.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with _Titled(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


def track(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    *,
    unit: str = "",
    done: int = 0,
) -> Iterator[T]:
    """Iterates over ``items`` and shows how far it got.

    Args:
        items: What is iterated over.
        description: Title of the bar.
        total: Number of items, with those that were done earlier; by default that of ``items``.
        unit: What is counted: ``"cycles"``.
        done: Number of items that an earlier run has done, which are not among ``items``.
    """
    if total is None and isinstance(items, Sized):
        total = done + len(items)
    with progress_bar() as progress:
        task = progress.add_task(description, total=total, completed=done, unit=unit)
        for item in items:
            yield item
            progress.advance(task)


class _Titled(Progress):
    """A display whose tasks have a printable title, a note and a unit."""

    def add_task(self, description: str, *args: object, **fields: object) -> object:  # type: ignore[override]
        fields = {"note": "", "unit": "", **fields}
        return super().add_task(printable(description), *args, **fields)  # type: ignore[arg-type]


def _escaped(argument: object) -> object:
    told = isinstance(argument, str | os.PathLike | BaseException | list | tuple)
    return printable(str(argument)) if told else argument
