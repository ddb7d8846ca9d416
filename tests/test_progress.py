"""What reaches a terminal and a log."""

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from dal_toolbox import progress
from dal_toolbox.progress import console, log, track

HOSTILE = "\x1b[31mred[bold]\x07\u202e"


def test_brackets_in_names_are_no_markup():
    table = Table(title="[red]title")
    table.add_column("[blue]class")
    table.add_row("[bold]cat :smile:")
    with console.capture() as capture:
        console.print(table)
        console.print("[red]line")
    for text in ("[red]title", "[blue]class", "[bold]cat :smile:", "[red]line"):
        assert text in capture.get()


@pytest.mark.parametrize(
    "argument",
    [HOSTILE, Path(HOSTILE), ValueError(HOSTILE), [HOSTILE]],
    ids=["str", "path", "error", "list"],
)
def test_log_lines_are_escaped_for_every_handler(argument):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    try:
        log.warning("%d files such as %s, and %.1f", 3, argument, 0.5)
        log.warning(f"{HOSTILE}")
    finally:
        log.removeHandler(handler)
    text = stream.getvalue()
    assert "3 files such as" in text and "and 0.5" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "red[bold]" in text


def test_a_bar_has_a_title_and_says_what_it_counts(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, markup=False)
    monkeypatch.setattr(progress, "console", terminal)
    assert list(track([1, 2], f"fitting {HOSTILE}", done=3, unit="cycles")) == [1, 2]
    text = terminal.file.getvalue()
    assert "5/5" in text and "cycles" in text
    assert "\\x1b[31mred[bold]" in text
