"""Strategies side by side: one summary for each setting, its comparisons with a baseline, a verdict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dal_toolbox.analysis.grouping import LearningCurve, by_setting, by_strategy, pairs, values
from dal_toolbox.analysis.names import shown
from dal_toolbox.analysis.scales import scale_of
from dal_toolbox.analysis.statistics import FEW_PAIRS, compare, holm
from dal_toolbox.errors import UserError
from dal_toolbox.metrics import area_under_learning_curve

ALPHA = 0.05


@dataclass(frozen=True)
class Row:
    """One strategy. What cannot be said is None: a spread of one run, an interval of one pair.

    Attributes:
        strategy: Its name, with the options that tell it from others of that name.
        seeds: Number of runs.
        num_labels: Labels at the end.
        final_mean: Mean of the metric at the end.
        final_std: Its standard deviation over seeds.
        area_mean: Mean height of the learning curve.
        area_std: Its standard deviation over seeds.
        pairs: Runs of the baseline with the same seeds; None for the baseline itself.
        difference: Mean difference of area over the pairs; positive where the strategy is better.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        p: Paired t-test, corrected by Holm for the strategies of the summary.
    """

    strategy: str
    seeds: int
    num_labels: int
    final_mean: float
    final_std: float | None
    area_mean: float
    area_std: float | None
    pairs: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Summary:
    """All strategies of one setting, the best area first."""

    setting: str
    metric: str
    baseline: str
    rows: Sequence[Row]

    @property
    def seeds(self) -> str:
        """Numbers of runs, such as ``5`` or ``3 to 5``."""
        return _range([row.seeds for row in self.rows])


def summarize(
    curves: Sequence[LearningCurve], metric: str = "accuracy", baseline: str = "random"
) -> list[Summary]:
    """One summary for each setting.

    Runs are paired by seed, and p-values are corrected within a setting (Holm, 1979).

    Raises:
        UserError: No run is of the baseline, unless that is ``random``.
    """
    check_baseline(curves, baseline)
    return [
        Summary(setting, metric, baseline, _rows(by_strategy(own), metric, baseline))
        for setting, own in by_setting(curves).items()
    ]


def check_baseline(curves: Sequence[LearningCurve], baseline: str) -> None:
    """Raises an error if a baseline other than ``random`` has no runs."""
    known = sorted({curve.strategy for curve in curves})
    options = [name for name in known if name.startswith(f"{baseline} ")]
    if baseline in known or (baseline == "random" and not options):
        return
    what = "several variants" if options else "no run of it"
    quoted = ", ".join(f"'baseline=\"{name}\"'" if " " in name else name for name in options or known)  # fmt: skip
    raise UserError(f"baseline={shown(baseline)}: {what}; choose one of {shown(quoted)}")


def verdict(summary: Summary) -> str:
    """What the comparisons say, in a sentence."""
    baseline = summary.baseline
    others = [row for row in summary.rows if row.strategy != baseline]
    if len(others) == len(summary.rows):
        return f"no run of {baseline}: nothing to compare with"
    if not others:
        return f"no other strategy than {baseline}: nothing to compare"
    tested = [row for row in others if row.p is not None]
    if not tested:
        return f"one seed or none in common with {baseline}: too few to tell strategies apart"
    seeds = f"{_range([row.pairs or 0 for row in tested])} seeds"
    better = [row.strategy for row in tested if _certain(row) and (row.difference or 0) > 0]
    worse = [row.strategy for row in tested if _certain(row) and (row.difference or 0) < 0]
    if not better and not worse:
        who = f"{others[0].strategy} cannot" if len(others) == 1 else "no strategy can"
        return f"{who} be told from {baseline} with {seeds}"
    found = [f"{word} than {baseline}: {', '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names]  # fmt: skip
    rest = len(others) - len(better) - len(worse)
    open_ = f"; {rest} of {len(others)} cannot be told from it" if rest else ""
    return f"{'; '.join(found)} (p < {ALPHA}, {seeds}){open_}{_caution(tested)}"


def notes(curves: Sequence[LearningCurve]) -> list[str]:
    """What the runs disclose about themselves, with the number of runs that do."""
    counts = Counter(note for curve in curves for note in curve.notes)
    return [f"{note} ({n} of {len(curves)} runs)" for note, n in counts.most_common()]


def areas(runs: Sequence[LearningCurve], metric: str) -> np.ndarray:
    """Mean height of each learning curve; of a single point, its height. Shape: (runs,)."""
    if len(runs[0].num_labeled) == 1:
        return values(runs, metric)[:, 0]
    return np.array(
        [
            area_under_learning_curve(run.num_labeled.tolist(), run.metrics[metric].tolist())
            for run in runs
        ]
    )


def _rows(groups: Mapping[str, list[LearningCurve]], metric: str, baseline: str) -> list[Row]:
    rows = [_row(name, runs, metric) for name, runs in groups.items()]
    if baseline in groups:
        rows = _corrected([_compared(row, groups, metric, baseline) for row in rows])
    return sorted(rows, key=lambda row: -scale_of(metric).sign * row.area_mean)


def _row(name: str, runs: Sequence[LearningCurve], metric: str) -> Row:
    final, area = values(runs, metric)[:, -1], areas(runs, metric)
    final_std, area_std = (
        float(sample.std(ddof=1)) if len(runs) > 1 else None for sample in (final, area)
    )
    labels = int(runs[0].num_labeled[-1])
    return Row(
        name, len(runs), labels, float(final.mean()), final_std, float(area.mean()), area_std
    )


def _compared(
    row: Row, groups: Mapping[str, list[LearningCurve]], metric: str, baseline: str
) -> Row:
    if row.strategy == baseline:
        return row
    paired = pairs(groups[row.strategy], groups[baseline])
    if not paired:
        return replace(row, pairs=0)
    first, second = (scale_of(metric).sign * areas(side, metric) for side in zip(*paired, strict=True))  # fmt: skip
    result = compare(first, second)
    row = replace(row, pairs=result.n, difference=result.difference)
    if result.n == 1:
        return row
    low, high = (None if np.isnan(end) else end for end in result.interval)
    return replace(row, low=low, high=high, p=result.p_t)


def _corrected(rows: Sequence[Row]) -> list[Row]:
    corrected = iter(holm([row.p for row in rows if row.p is not None]).tolist())
    return [row if row.p is None else replace(row, p=next(corrected)) for row in rows]


def _certain(row: Row) -> bool:
    return row.p is not None and row.p < ALPHA


def _caution(tested: Sequence[Row]) -> str:
    if min(row.pairs or 0 for row in tested) >= FEW_PAIRS:
        return ""
    return f"; with fewer than {FEW_PAIRS} seeds this rests on normally distributed differences"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
