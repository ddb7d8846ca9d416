"""Learning curves, and which of them may be compared: of one setting, of equal length, paired by seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dal_toolbox.analysis.names import shown
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

MOST = 0.8  # share of runs that reach the number of labels up to which all are compared
NAMED = 3  # runs named in one warning


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """The metrics of one run against the number of labels.

    Attributes:
        strategy: Query strategy, with the options in which runs of that strategy differ.
        seed: Seed of the run, which pairs it with the runs of other strategies.
        num_labeled: Labels bought so far. Shape: (cycles,).
        metrics: Name to values, NaN where a run has none. Shape of each: (cycles,).
        setting: What else tells the run from others: only runs of one setting can be compared.
        notes: What the run discloses about itself.
        made_from: Digests of what the run is made from (data, encoder), by name.
        folder: The run folder.
    """

    strategy: str
    seed: int
    num_labeled: np.ndarray
    metrics: Mapping[str, np.ndarray]
    setting: str = ""
    notes: tuple[str, ...] = ()
    made_from: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()


def with_metric(curves: Sequence[LearningCurve], metric: str) -> list[LearningCurve]:
    """The curves that have finite values of a metric; others are named and left out.

    Raises:
        UserError: There is none.
    """
    known = sorted({name for curve in curves for name in curve.metrics})
    if metric not in known:
        raise UserError(f"metric={shown(metric)}: these runs have {shown(', '.join(known))}")
    finite = [curve for curve in curves if np.isfinite(curve.metrics.get(metric, np.nan)).all()]
    missing = [curve for curve in curves if curve not in finite]
    if missing:
        log.warning("left out, without finite %s: %s", shown(metric), _listed(missing))
    if not finite:
        raise UserError(f"metric={shown(metric)}: no run has finite values of it in every cycle")
    return finite


def by_setting(curves: Sequence[LearningCurve]) -> dict[str, list[LearningCurve]]:
    """Curves of each setting, in order of their names."""
    return _grouped(curves, lambda curve: curve.setting)


def by_strategy(curves: Sequence[LearningCurve]) -> dict[str, list[LearningCurve]]:
    """Curves of each strategy of one setting, in order of their names.

    Raises:
        ValueError: The curves belong to several settings, or have other numbers of labels.
    """
    if len({(curve.setting, tuple(curve.num_labeled.tolist())) for curve in curves}) > 1:
        raise ValueError("curves of several settings or numbers of labels cannot be averaged")
    return _grouped(curves, lambda curve: curve.strategy)


def values(curves: Sequence[LearningCurve], metric: str) -> np.ndarray:
    """One metric of several runs. Shape: (runs, cycles)."""
    return np.stack([curve.metrics[metric] for curve in curves])


def pairs(
    first: Sequence[LearningCurve], second: Sequence[LearningCurve]
) -> list[tuple[LearningCurve, LearningCurve]]:
    """Runs of two strategies of one setting that have seed and data in common, in order of seeds."""
    partner = {curve.seed: curve for curve in second}
    candidates = [(curve, partner[curve.seed]) for curve in first if curve.seed in partner]
    return [(one, other) for one, other in candidates if not _differing(one, other)]


def name_unlike(curves: Sequence[LearningCurve]) -> None:
    """Warns of runs that are made from other data than the first run of their setting and seed."""
    first: dict[tuple[str, int], LearningCurve] = {}
    for curve in curves:
        reference = first.setdefault((curve.setting, curve.seed), curve)
        if differing := _differing(curve, reference):
            log.warning(
                "not compared, made from other %s under one configuration and seed: %s and %s",
                shown(" and ".join(differing)), shown(reference.folder), shown(curve.folder),
            )  # fmt: skip


def without_copies(curves: Sequence[LearningCurve]) -> list[LearningCurve]:
    """Of runs with the same configuration and seed, the longest."""
    kept: dict[tuple, LearningCurve] = {}
    for curve in sorted(curves, key=lambda curve: -len(curve.num_labeled)):
        other = kept.setdefault((curve.setting, curve.strategy, curve.seed), curve)
        if other is not curve:
            log.warning(
                "left out, the same configuration and seed as %s: %s",
                shown(other.folder), shown(curve.folder),
            )  # fmt: skip
    return [curve for curve in curves if curve in kept.values()]


def of_equal_length(curves: Sequence[LearningCurve]) -> list[LearningCurve]:
    """The curves of a setting, up to the number of labels that most of them reach."""
    labels = [tuple(curve.num_labeled.tolist()) for curve in curves]
    shared = _shared(labels)
    n = len(shared)
    short = [curve for curve, own in zip(curves, labels, strict=True) if own[:n] != shared]
    rest = [curve for curve in curves if curve not in short]
    longer = [curve for curve in rest if len(curve.num_labeled) > n]
    setting = f" of {shown(curves[0].setting)}" if curves[0].setting else ""
    if longer:
        log.warning("compared up to %d labels, where other runs%s end: %s", shared[-1], setting, _listed(longer))  # fmt: skip
    if short:
        log.warning("left out, other numbers of labels than most runs%s: %s", setting, _listed(short))  # fmt: skip
    return [_cut(curve, n) for curve in rest]


def _differing(one: LearningCurve, other: LearningCurve) -> list[str]:
    """Names of what both runs are made from, and which is not the same."""
    shared = one.made_from.keys() & other.made_from.keys()
    return sorted(name for name in shared if one.made_from[name] != other.made_from[name])


def _grouped(
    curves: Sequence[LearningCurve], key: Callable[[LearningCurve], str]
) -> dict[str, list[LearningCurve]]:
    groups: dict[str, list[LearningCurve]] = {}
    for curve in sorted(curves, key=key):
        groups.setdefault(key(curve), []).append(curve)
    return groups


def _shared(labels: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest curve that most runs reach, or else the one that most of them reach."""
    reach = {own: sum(other[: len(own)] == own for other in labels) for own in labels}
    longest = sorted(reach, key=lambda own: (-len(own), own))
    for own in longest:
        if reach[own] >= MOST * len(labels):
            return own
    return max(longest, key=lambda own: reach[own])


def _cut(curve: LearningCurve, n: int) -> LearningCurve:
    metrics = {name: column[:n] for name, column in curve.metrics.items()}
    return replace(curve, num_labeled=curve.num_labeled[:n], metrics=metrics)


def _listed(curves: Sequence[LearningCurve]) -> str:
    more = f" and {len(curves) - NAMED} more" if len(curves) > NAMED else ""
    return ", ".join(shown(curve.folder) for curve in curves[:NAMED]) + more
