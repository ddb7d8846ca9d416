"""The run folder: everything that explains a run, and what lets it be resumed."""

import csv
import io
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.logging import RichHandler
from rich.tree import Tree

from dal_toolbox.errors import UserError
from dal_toolbox.io import write_json, write_text
from dal_toolbox.progress import console, log

PACKAGES = ("torch", "torchvision", "timm", "lightning", "hydra-core", "scikit-learn", "numpy",
            "faiss-gpu", "faiss-cpu")  # fmt: skip
# Keys that say where or how fast, not what: they may change when a run is resumed.
PLACES = {"output_dir", "dataset_path", "feature_dir", "n_cpus", "overwrite"}
# What every run writes before its work begins: a folder of nothing else has nothing to lose.
PREPARED = {"config_resolved.yaml", "config_tree.txt", "environment.json", "main.log", "data",
            "plots", "previous"}  # fmt: skip


class RunFolder:
    """A folder that belongs to one run with one config.

    It holds ``config_resolved.yaml``, ``config_tree.txt``, ``main.log``, ``environment.json`` and what
    the job makes. ``results.json`` is written last: its existence means that the run is done.

    Args:
        path: The folder.
        config: The config as plain dict.
        overwrite: Moves an earlier run to ``previous/`` and starts anew; nothing is deleted.

    Raises:
        UserError: The folder holds a run with another config.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = path.resolve()
        self.path.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self._move_away()
        self._refuse_other_config(config)
        self._log_to_file()
        if self.finished:
            log.info("finished earlier: %s (overwrite=true runs it again)", self.path)
            return
        write_text(self.path / "config_resolved.yaml", yaml.safe_dump(dict(config)))
        write_text(self.path / "config_tree.txt", config_tree(config))
        write_json(self.path / "environment.json", environment())

    @property
    def finished(self) -> bool:
        """Whether the run has reached its end."""
        return (self.path / "results.json").exists()

    @property
    def results(self) -> dict[str, Any]:
        """What :meth:`finish` wrote."""
        return json.loads((self.path / "results.json").read_text())

    def finish(self, results: Mapping[str, Any]) -> None:
        """Writes ``results.json``: the run is done."""
        write_json(self.path / "results.json", dict(results))
        log.info("results in %s", self.path)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Writes ``metrics.csv``, one row a step of the run."""
        temporary = self.path / ".metrics.csv.tmp"
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path / "metrics.csv")

    def _refuse_other_config(self, config: Mapping[str, Any]) -> None:
        file = self.path / "config_resolved.yaml"
        if not file.exists() or {entry.name for entry in self.path.iterdir()} <= PREPARED:
            return
        old, new = _flat(yaml.safe_load(file.read_text())), _flat(config)
        changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        changed = [key for key in changed if key.split(".")[0] not in PLACES]
        if changed:
            key = changed[0]
            more = f" and {len(changed) - 1} more keys" if len(changed) > 1 else ""
            raise UserError(
                f"{self.path} holds a run with another config ({key}: {old.get(key)} -> "
                f"{new.get(key)}{more}); choose another output_dir, or overwrite=true"
            )

    def _move_away(self) -> None:
        entries = [entry for entry in self.path.iterdir() if entry.name != "previous"]
        if not (self.path / "config_resolved.yaml").exists():
            return
        target = self.path / "previous" / time.strftime("%Y-%m-%d_%H-%M-%S")
        target.mkdir(parents=True)
        for entry in entries:
            entry.rename(target / entry.name)
        log.info("the earlier run is now in %s", target)

    def _log_to_file(self) -> None:
        handler = logging.FileHandler(self.path / "main.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        show = RichHandler(console=console, show_path=False, show_level=False, markup=False,
                           log_time_format="[%H:%M:%S]")  # fmt: skip
        for old in list(log.handlers):
            log.removeHandler(old)
            old.close()
        log.handlers = [handler, show]
        log.setLevel(logging.INFO)
        log.propagate = False


def environment() -> dict[str, Any]:
    """Versions, git commit, hardware and command of this process."""
    import torch

    return {
        "command": [sys.executable, *sys.argv],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "platform": platform.platform(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


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
            tree.add(f"{key}: {value}".replace("[", r"\["))


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
