"""Learning curves, read from run folders."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dal_toolbox.analysis.grouping import (
    LearningCurve,
    by_setting,
    name_unlike,
    of_equal_length,
    without_copies,
)
from dal_toolbox.analysis.names import shown
from dal_toolbox.analysis.settings import describe, settings
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_json, read_lines, read_text
from dal_toolbox.progress import log


class _NothingMeasured(ValueError):
    """A run that is complete and has no curve: its data have no labeled test item."""


def load_curves(root: Path) -> list[LearningCurve]:
    """The curves of all finished runs below ``root``.

    Unfinished and damaged runs are named and left out; a run that was done twice counts once. Within
    a setting all curves have the same numbers of labels: longer ones are cut, and the few that end
    before are left out.

    Raises:
        UserError: There is none.
    """
    if not _is_folder(root):
        raise UserError(f"no folder {shown(root)}; runs=<output_dir of the runs> names it")
    found = list(_finished(root))
    curves = sorted(_labeled(found), key=lambda run: (run.setting, run.strategy, run.seed))
    if not curves:
        raise UserError(
            f"no finished active-learning run below {shown(root)} with a test accuracy; "
            "experiments/active_learning/main.py makes them (runs=<its output_dir>)"
        )
    curves = without_copies(curves)
    name_unlike(curves)
    groups = by_setting(curves).values()
    return [curve for group in groups for curve in of_equal_length(group)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, say
        return False


def _labeled(found: Sequence[tuple[dict, LearningCurve]]) -> list[LearningCurve]:
    configs, curves = [config for config, _ in found], [curve for _, curve in found]
    strategies = describe([config["strategy"] for config in configs])
    return [
        replace(curve, strategy=strategy, setting=setting)
        for curve, strategy, setting in zip(curves, strategies, settings(configs), strict=True)
    ]


def _finished(root: Path) -> Iterator[tuple[dict, LearningCurve]]:
    for file in sorted(root.rglob("results.jsonl")):
        if "previous" in file.relative_to(root).parts:
            continue
        if not (file.parent / "results.json").exists():
            log.warning("left out, not finished: %s", shown(file.parent))
            continue
        try:
            yield _read(file.parent)
        except _NothingMeasured:
            log.warning("left out, without a labeled test item: %s", shown(file.parent))
        except (UserError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            log.warning("left out, damaged: %s (%s)", shown(file.parent), shown(reason))


def _read(folder: Path) -> tuple[dict, LearningCurve]:
    config, results = _config(folder), _results(folder)
    rows = [_row(record) for record in _load(folder / "results.jsonl", read_lines)]
    labels = [num_labeled for num_labeled, _ in rows]
    if labels != sorted(labels):
        raise ValueError(f"results.jsonl: the numbers of labels fall: {labels}")
    measured = {num_labeled: metrics for num_labeled, metrics in rows if metrics}
    if rows and not measured and results.get("metrics") == {}:
        raise _NothingMeasured
    if not measured:
        raise ValueError("results.jsonl holds no metrics")
    final, notes = results.get("num_labeled"), results.get("notes")
    if isinstance(final, int) and labels[-1] < final:
        raise ValueError(f"results.jsonl ends at {labels[-1]} labels, results.json at {final}")
    names = dict.fromkeys(name for metrics in measured.values() for name in metrics)
    return config, LearningCurve(
        strategy=config["strategy"]["name"],
        seed=config["random_seed"],
        num_labeled=np.array(list(measured), dtype=np.int64),
        metrics={
            name: np.array([metrics.get(name, np.nan) for metrics in measured.values()])
            for name in names
        },
        notes=tuple(dict.fromkeys(map(str, notes))) if isinstance(notes, list) else (),
        made_from=_made_from(folder),
        folder=folder,
    )


def _config(folder: Path) -> dict:
    config = _load(folder / "config_resolved.yaml", lambda path: yaml.safe_load(read_text(path)))
    strategy = config.get("strategy") if isinstance(config, dict) else None
    if not isinstance(strategy, dict) or not isinstance(strategy.get("name"), str):
        raise ValueError("config_resolved.yaml names no strategy")
    if type(config.get("random_seed")) is not int:
        raise ValueError("config_resolved.yaml has no random_seed")
    return config


def _results(folder: Path) -> dict:
    results = _load(folder / "results.json", read_json)
    if not isinstance(results, dict):
        raise ValueError("results.json is no JSON object")
    return results


def _made_from(folder: Path) -> dict[str, str]:
    path = folder / "stands_on.json"
    facts = _load(path, read_json) if path.exists() else {}
    if not isinstance(facts, dict):
        raise ValueError("stands_on.json is no JSON object")
    return {name: str(digest) for name, digest in facts.items()}


def _load(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (OSError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _row(record: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Number of labels and metrics of a cycle, if any; null, which is NaN or infinity, is NaN."""
    num_labeled, metrics = record.get("num_labeled"), record.get("metrics")
    if not _is_integer(num_labeled) or not isinstance(metrics, dict):
        raise ValueError(f"results.jsonl: no result of a cycle: {str(record)[:80]}")
    for name, value in metrics.items():
        if not (value is None or isinstance(value, float) or _is_integer(value)):
            raise ValueError(f"results.jsonl: {name} is {str(value)[:40]}")
    return num_labeled, {  # type: ignore[return-value]
        name: np.nan if value is None else float(value) for name, value in metrics.items()
    }


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
