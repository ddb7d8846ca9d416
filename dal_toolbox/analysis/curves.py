"""Learning curves, read from run folders."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from dal_toolbox.errors import UserError
from dal_toolbox.progress import log


@dataclass(frozen=True)
class LearningCurve:
    """The metrics of one run against the number of labels.

    Attributes:
        strategy: Name of the query strategy.
        seed: Seed of the run; runs of equal seed share initial labels, so that they can be paired.
        num_labeled: Labels bought so far. Shape: (cycles,).
        metrics: Name to values. Shape of each: (cycles,).
    """

    strategy: str
    seed: int
    num_labeled: np.ndarray
    metrics: Mapping[str, np.ndarray]


def load_curves(root: Path) -> list[LearningCurve]:
    """The curves of all finished runs below ``root``; unfinished ones are named and left out.

    Raises:
        UserError: There is none.
    """
    curves = sorted(_finished(root), key=lambda curve: (curve.strategy, curve.seed))
    if not curves:
        raise UserError(
            f"no finished active-learning run below {root}; experiments/active_learning/main.py "
            "makes them (runs=<its output_dir>)"
        )
    return curves


def by_strategy(curves: Sequence[LearningCurve]) -> dict[str, list[LearningCurve]]:
    """Groups curves by strategy, in order of name.

    Raises:
        UserError: Runs differ in their numbers of labels, so that no mean can be taken.
    """
    groups: dict[str, list[LearningCurve]] = {}
    for curve in curves:
        groups.setdefault(curve.strategy, []).append(curve)
    reference = curves[0]
    for curve in curves:
        if not np.array_equal(curve.num_labeled, reference.num_labeled):
            raise UserError(
                f"{curve.strategy} (seed {curve.seed}) was measured at {curve.num_labeled.tolist()} "
                f"labels, {reference.strategy} (seed {reference.seed}) at "
                f"{reference.num_labeled.tolist()}; report only runs with equal budgets together"
            )
    return groups


def values(curves: Sequence[LearningCurve], metric: str) -> np.ndarray:
    """One metric of several runs. Shape: (runs, cycles)."""
    return np.stack([curve.metrics[metric] for curve in curves])


def _finished(root: Path) -> Iterator[LearningCurve]:
    for file in sorted(root.rglob("results.jsonl")):
        if "previous" in file.relative_to(root).parts:
            continue
        if (file.parent / "results.json").exists():
            yield _read(file.parent)
        else:
            log.warning("left out, not finished: %s", file.parent)


def _read(folder: Path) -> LearningCurve:
    config = yaml.safe_load((folder / "config_resolved.yaml").read_text())
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    names = rows[0]["metrics"]
    return LearningCurve(
        strategy=config["strategy"]["name"],
        seed=config["random_seed"],
        num_labeled=np.array([row["num_labeled"] for row in rows]),
        metrics={name: np.array([row["metrics"][name] for row in rows]) for name in names},
    )
