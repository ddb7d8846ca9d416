"""What it costs to look at a part of the pool only, as the defaults do in pools that are too large.

A pool as large as ImageNet would take too long, with limits and without. So here the pool is small, and
limits are as small a part of it as the defaults are of ImageNet.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _bench import print_table
from _selection_data import Problem, problems
from _selection_objectives import (
    Picks,
    ball_coverage,
    joint_information,
    kernel_coverage,
    kmeans_cost,
    mean_margin,
    open_information,
)
from _selection_report import number, repeated, summary, text
from _selection_run import Job, Outcome

from dal_toolbox.progress import track

IMAGENET = 1_281_167
BOTH = ("max_targets", "max_candidates")
# The options that limit, their value, and the objective: more is better (+) or less (-).
LIMITS: dict[str, tuple[tuple[str, ...], int, str, Callable[[Problem, Picks], float]]] = {
    "maxherding": (BOTH, 50_000, "kernel coverage +", kernel_coverage),
    "uncertainty_herding": (BOTH, 50_000, "kernel coverage +", kernel_coverage),
    "facility_location": (BOTH, 50_000, "k-means cost -", kmeans_cost),
    "probcover": (("max_items",), 50_000, "share in balls +", ball_coverage),
    "dcom": (("max_items",), 50_000, "share in balls +", ball_coverage),
    "batchbald": (("max_items",), 50_000, "joint information +", joint_information),
    "ldm": (("max_items",), 25_000, "margin -", mean_margin),
    "bait": (("max_items",), 500_000, "open information -", open_information),
}


def limits(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Every strategy that has a limit, without it and with it."""
    rows = []
    for problem in problems(options, work):
        for name in track([name for name in options.names if name in LIMITS], "limits"):
            keys, items, title, objective = LIMITS[name]
            part = max(options.batch, round(items * problem.n / IMAGENET))
            row = {"strategy": name, "classes": problem.num_classes, "objective": title,
                   "items": items, "part": part}  # fmt: skip
            for side, limit in (("whole", problem.n), ("limited", part)):
                chosen = tuple((key, limit) for key in keys)
                job = Job("ours", name, problem, options.batch, options.threads, options.seed,
                          options=chosen)  # fmt: skip
                row[side] = _measured(repeated(job, options), problem, objective)
            rows.append(row)
            print(f"{name}: {text(row['whole'])} s, {text(row['limited'])} s", flush=True)
    _show(options, rows)
    return {"rows": rows}


def _measured(
    outcomes: list[Outcome], problem: Problem, objective: Callable[[Problem, Picks], float]
) -> dict[str, Any]:
    values = [objective(problem, outcome.picks) for outcome in outcomes if outcome.picks]
    return {**summary(outcomes), "objective": statistics.fmean(values) if values else None}


def _show(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    cells = []
    for row in rows:
        whole, limited = row["whole"], row["limited"]
        cells.append([
            row["strategy"], str(row["classes"]), number(row["items"]), number(row["part"]),
            text(whole), text(limited), row["objective"],
            number(whole["objective"], 4), number(limited["objective"], 4),
        ])  # fmt: skip
    columns = [
        "strategy",
        "C",
        "limit",
        "part of it here",
        "all s",
        "part s",
        "objective",
        "all",
        "part",
    ]
    print_table(f"N {options.n}, d {options.dim}, B {options.batch}", columns, cells)
