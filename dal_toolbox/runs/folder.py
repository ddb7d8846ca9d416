"""The folder of one run."""

import csv
import io
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.tree import Tree

from dal_toolbox.errors import UserError
from dal_toolbox.io import file_digest, read_json, read_text, write_json, write_text
from dal_toolbox.progress import console, log
from dal_toolbox.runs.environment import changes, environment
from dal_toolbox.runs.lock import HOLDER, LOCK, RunLock

# Keys that say where or how fast, not what: they may change when a run is resumed.
PLACES = {"output_dir", "dataset_path", "feature_dir", "n_cpus", "overwrite"}
# What every run writes before its work begins: a folder of nothing else has nothing to lose.
PREPARED = {"config_resolved.yaml", "config_tree.txt", "environment.json", "main.log", "data",
            "plots", "previous", "stands_on.json", LOCK, HOLDER}  # fmt: skip


class RunFolder:
    """A folder that belongs to one run with one config, and to one process at a time.

    It holds ``config_resolved.yaml``, ``config_tree.txt``, ``main.log``, ``environment.json`` and what
    the job makes. ``results.json`` is written last: its existence means that the run is done.

    Args:
        path: The folder.
        config: The config as plain dict.
        overwrite: Moves an earlier run to ``previous/`` and starts anew; nothing is deleted.
        lengthens: Keys that may grow when the run is taken up again, such as ``num_cycles``: a
            finished run then goes on.

    Raises:
        UserError: The folder holds a run with another config, or one that another process works on.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        *,
        overwrite: bool = False,
        lengthens: Collection[str] = (),
    ) -> None:
        self.path = path.resolve()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = RunLock(self.path)
        for leftover in self.path.rglob(".*.tmp"):  # of a killed writer
            leftover.unlink(missing_ok=True)
        if overwrite:
            self._move_away()
        self._config = dict(config)
        self._grown = self._refuse_other_config(config, lengthens)
        self._log_to_file()
        if self.finished:
            log.info("finished earlier: %s (overwrite=true runs it again)", self.path)
            self._lock.release()
        elif not self._grown:  # else once it is known to stand on what it began with
            self._prepare()

    def _prepare(self) -> None:
        if self._grown:
            log.info("the run goes on: %s", ", ".join(self._grown))
            (self.path / "results.json").unlink(missing_ok=True)
        self._grown = []
        write_text(self.path / "config_resolved.yaml", yaml.safe_dump(self._config))
        write_text(self.path / "config_tree.txt", config_tree(self._config))
        self._write_environment(self._config.get("plugins") or ())

    @property
    def finished(self) -> bool:
        """Whether the run has reached its end, and what it made last is as it was written."""
        file = self.path / "results.json"
        if self._grown or not file.exists():
            return False
        try:
            files = read_json(file).get("files", {})
            bad = [name for name in files if file_digest(self.path / name) != files[name]]
        except (OSError, ValueError, AttributeError) as error:
            bad = [f"results.json or a file that it names ({error})"]
        if bad:
            log.warning("%s: %s is damaged; the end of the run is made anew", self.path, bad[0])
        return not bad

    @property
    def results(self) -> dict[str, Any]:
        """What :meth:`finish` wrote."""
        return read_json(self.path / "results.json")

    def stand_on(
        self, facts: Mapping[str, str], *, may_change: Collection[str] = ()
    ) -> dict[str, str]:
        """Compares as :meth:`compare` does, then remembers what the run is made from."""
        before = self.compare(facts, may_change=may_change)
        write_json(self.path / "stands_on.json", dict(facts))
        if self._grown:
            self._prepare()
        return before

    def compare(
        self, facts: Mapping[str, str], *, may_change: Collection[str] = ()
    ) -> dict[str, str]:
        """Compares what the run is made from with what it began with; changes nothing.

        Args:
            facts: Names of things (``"encoder"``) and digests of their content.
            may_change: Names of things whose change is only returned.

        Returns:
            What has changed, as it was before.

        Raises:
            UserError: Something else is not what the run began with.
        """
        old = self._read_facts(self.path / "stands_on.json")
        changed = [name for name in sorted({*old, *facts}) if old.get(name) != facts.get(name)]
        refused = [name for name in changed if old and name not in may_change]
        if refused and self.has_begun:
            raise UserError(
                f"{self.path} was begun with another {' and another '.join(refused)}; put that "
                f"back, choose another output_dir, or overwrite=true"
            )
        return {name: old.get(name, "") for name in changed} if old else {}

    @property
    def has_begun(self) -> bool:
        """Whether the folder holds more than what every run writes before its work."""
        return not {entry.name for entry in self.path.iterdir()} <= PREPARED

    def finish(self, results: Mapping[str, Any], files: Sequence[str] = ()) -> None:
        """Writes ``results.json``: the run is done.

        Args:
            results: What came out.
            files: Names of files that others build on; a damaged one is found at the next start.
        """
        if self._grown:
            self._prepare()
        digests = {name: file_digest(self.path / name) for name in files}
        write_json(self.path / "results.json", {**results, **({"files": digests} if files else {})})
        log.info("results in %s", self.path)
        self._lock.release()

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Writes ``metrics.csv``, one row a step of the run."""
        text = io.StringIO()
        writer = csv.DictWriter(
            text,
            list(dict.fromkeys(key for row in rows for key in row)),
            lineterminator="\n",
        )
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "metrics.csv", text.getvalue())

    def _refuse_other_config(
        self, config: Mapping[str, Any], lengthens: Collection[str]
    ) -> list[str]:
        """Returns what has grown, in words."""
        file = self.path / "config_resolved.yaml"
        if not file.exists() or not self.has_begun:
            return []
        old, new = _flat(_read_config(file)), _flat(config)
        keys = sorted({*old, *new}, key=lambda key: (not key.endswith(".name"), key))  # parts first
        changed = [key for key in keys if old.get(key) != new.get(key)]
        changed = [key for key in changed if key.split(".")[0] not in PLACES]
        shown = {key: f"{key}: {old.get(key)} -> {new.get(key)}" for key in changed}
        grown = [key for key in changed if key in lengthens and _is_longer(old, new, key)]
        others = [shown[key] for key in changed if key not in grown]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            may = f" (only {', '.join(sorted(lengthens))} may grow)" if lengthens else ""
            raise UserError(
                f"{self.path} holds a run with another config ({others[0]}{more}){may}; choose "
                f"another output_dir, or overwrite=true"
            )
        return [shown[key] for key in grown]

    def _read_facts(self, file: Path) -> dict[str, str]:
        if not file.exists():
            return {}
        try:
            return dict(read_json(file))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{file} is damaged ({error}); remove it if data and encoder are what the run began "
                f"with, else choose another output_dir"
            ) from error

    def _write_environment(self, plugins: Sequence[str]) -> None:
        file, now = self.path / "environment.json", environment(plugins)
        if self.has_begun and file.exists():
            try:
                for change in changes(read_json(file), now):
                    log.warning("%s since this run began", change)
            except (ValueError, AttributeError, TypeError):
                log.warning("%s is damaged and written anew", file)
        write_json(file, now)

    def _move_away(self) -> None:
        kept = ("previous", LOCK, HOLDER)
        entries = [entry for entry in self.path.iterdir() if entry.name not in kept]
        if not (self.path / "config_resolved.yaml").exists():
            return
        target = self.path / "previous" / time.strftime("%Y-%m-%d_%H-%M-%S")
        target.mkdir(parents=True)
        for entry in entries:
            entry.rename(target / entry.name)
        log.info("the earlier run is now in %s", target)

    def _log_to_file(self) -> None:
        handler = logging.FileHandler(
            self.path / "main.log", encoding="utf-8", errors="backslashreplace"
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        show = RichHandler(console=console, show_path=False, show_level=False, markup=False,
                           log_time_format="[%H:%M:%S]")  # fmt: skip
        for old in list(log.handlers):
            log.removeHandler(old)
            old.close()
        log.handlers = [handler, show]
        log.setLevel(logging.INFO)
        log.propagate = False


def config_tree(config: Mapping[str, Any]) -> str:
    """The config as a tree, to be read by people."""
    tree = Tree("config")
    _grow(tree, config)
    text = io.StringIO()
    Console(width=120, no_color=True, file=text).print(tree)
    return text.getvalue()


def _grow(tree: Tree, config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if isinstance(value, Mapping):
            _grow(tree.add(f"[bold]{key}"), value)
        else:
            tree.add(escape(f"{key}: {value}"))


def _read_config(file: Path) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError) as error:
        config = " ".join(str(error).split())
    if not isinstance(config, Mapping):
        raise UserError(
            f"{file} is damaged ({str(config)[:80]}): nobody can tell whether this is the same run; "
            f"remove that file if it is, else choose another output_dir"
        )
    return config


def _is_longer(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    before, after = old.get(key), new.get(key)
    return isinstance(before, int) and isinstance(after, int) and after > before


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
