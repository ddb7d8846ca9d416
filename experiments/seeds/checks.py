"""Running the mains at reduced size, and what is checked of their outputs."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dal_toolbox.progress import console, log

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    document: str
    feature: str
    shown_by: str
    ok: bool


@dataclass
class System:
    """The system of one document: runs mains, collects checks.

    Args:
        document: Number and short name.
        work: A folder of its own; its ``data`` holds the datasets.
    """

    document: str
    work: Path
    checks: list[Check] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """Where the datasets of this system lie."""
        return self.work / "data"

    def run(self, main: str, name: str, *overrides: str) -> Path:
        """Runs ``experiments/<main>/main.py`` on two threads; its run folder.

        Raises:
            RuntimeError: It failed; the message ends with what it printed.
        """
        folder = self.work / name
        paths = [f"dataset_path={self.data}", f"output_dir={folder}"]
        if main != "ssl":
            paths.append(f"feature_dir={self.work / 'features'}")
        start = time.perf_counter()
        process = call([f"experiments/{main}/main.py", *overrides, *paths])
        console.print(f"{self.document}: {name}, {time.perf_counter() - start:.0f} s")
        if process.returncode:
            raise RuntimeError(f"{main} {' '.join(overrides)}\n{process.stdout}{process.stderr}")
        return folder

    def check(self, feature: str, shown_by: str, holds: Callable[[], Any]) -> None:
        """Adds a line; a check that raises does not hold."""
        try:
            ok = bool(holds())
        except Exception as error:
            log.warning("%s: %s: %s: %s", self.document, feature, type(error).__name__, error)
            ok = False
        self.checks.append(Check(self.document, feature, shown_by, ok))


def call(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs Python with ``arguments`` in the root of the checkout."""
    command = [sys.executable, *arguments]
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)


def results(folder: Path) -> dict[str, Any]:
    """``results.json`` of a run."""
    return json.loads((folder / "results.json").read_text())


def column(folder: Path, name: str) -> list[float]:
    """A column of ``metrics.csv``; rows without a value are left out."""
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def logged(folder: Path, text: str) -> bool:
    """Whether a text stands in ``main.log``."""
    return text in (folder / "main.log").read_text()


def exist(folder: Path, *names: str) -> bool:
    """Whether files or folders are there and not empty."""
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(f"{folder}: {', '.join(missing)}")
    return all((folder / n).is_dir() or (folder / n).stat().st_size > 0 for n in names)
