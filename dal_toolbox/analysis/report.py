"""Several runs in one table."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from dal_toolbox.analysis.curves import LearningCurve, by_strategy, values
from dal_toolbox.analysis.statistics import FEW_PAIRS, compare, holm
from dal_toolbox.metrics import area_under_learning_curve


def summarize(
    curves: Sequence[LearningCurve], metric: str = "accuracy", baseline: str = "random"
) -> list[dict[str, Any]]:
    """One row a strategy: final value, area under the learning curve, comparison with a baseline.

    Rows are sorted by area, the best first. Comparisons are paired by seed and corrected for the
    number of strategies (Holm, 1979).
    """
    groups = by_strategy(curves)
    rows = [_row(name, runs, metric) for name, runs in groups.items()]
    if baseline in groups:
        _compare_with(rows, groups, metric, baseline)
    return sorted(rows, key=lambda row: -row["area_mean"])


def to_table(rows: Sequence[Mapping[str, Any]], metric: str, baseline: str) -> Table:
    """The summary for a terminal."""
    labels = rows[0]["num_labels"]
    table = Table(title=f"test {metric}: mean ± standard deviation over seeds")
    for heading in ("strategy", "seeds", f"at {labels} labels", "area under curve"):
        table.add_column(heading, justify="left" if heading == "strategy" else "right")
    table.add_column(f"area - {baseline} [95 % interval]", justify="right")
    table.add_column("p (t-test, Holm)", justify="right")
    for row in rows:
        table.add_row(
            row["strategy"],
            str(row["seeds"]),
            f"{row['final_mean']:.4f} ± {row['final_std']:.4f}",
            f"{row['area_mean']:.4f} ± {row['area_std']:.4f}",
            _interval(row),
            f"{row['p']:.2g}" if "p" in row else "",
        )
    if min(row["seeds"] for row in rows) < FEW_PAIRS:
        table.caption = f"fewer than {FEW_PAIRS} seeds: too few to tell strategies apart"
    return table


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def areas(runs: Sequence[LearningCurve], metric: str) -> np.ndarray:
    """Area under each learning curve, divided by its range of labels. Shape: (runs,)."""
    return np.array(
        [
            area_under_learning_curve(run.num_labeled.tolist(), run.metrics[metric].tolist())
            for run in runs
        ]
    )


def _row(name: str, runs: Sequence[LearningCurve], metric: str) -> dict[str, Any]:
    final, area = values(runs, metric)[:, -1], areas(runs, metric)
    spread = 1 if len(runs) > 1 else 0
    return {
        "strategy": name,
        "seeds": len(runs),
        "num_labels": int(runs[0].num_labeled[-1]),
        "final_mean": float(final.mean()),
        "final_std": float(final.std(ddof=spread)),
        "area_mean": float(area.mean()),
        "area_std": float(area.std(ddof=spread)),
    }


def _compare_with(
    rows: list[dict[str, Any]],
    groups: Mapping[str, list[LearningCurve]],
    metric: str,
    baseline: str,
) -> None:
    reference = {run.seed: run for run in groups[baseline]}
    others = [row for row in rows if row["strategy"] != baseline]
    p_values = []
    for row in others:
        pairs = [(r, reference[r.seed]) for r in groups[row["strategy"]] if r.seed in reference]
        if not pairs:
            p_values.append(1.0)
            continue
        first, second = (areas(side, metric) for side in zip(*pairs, strict=True))
        result = compare(first, second)
        row["difference"], row["low"], row["high"] = result.difference, *result.interval
        p_values.append(result.p_t)
    for row, p in zip(others, holm(p_values), strict=True):
        row["p"] = float(p)


def _interval(row: Mapping[str, Any]) -> str:
    if "difference" not in row:
        return ""
    return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
