"""What it costs to look at a part of the pool only, as the defaults do in pools that are too large.

A pool as large as ImageNet would take too long, with limits and without. So here the pool is small, and
limits are as small a part of it as the defaults are of ImageNet.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Limit:
    """An option that makes a strategy fast enough for ImageNet.

    Args:
        keys: Its names, all of one value.
        value: At the size of ImageNet.
        title: Name of the objective; more is better (+) or less (-).
        objective: How good picks are.
        whole: The value without it; by default it counts items, and is all of them.
    """

    keys: tuple[str, ...]
    value: int
    title: str
    objective: Callable[[Problem, Picks], float]
    whole: int | None = None

    def here(self, n: int, batch: int) -> tuple[int, int]:
        """The values without it and with it in a pool of n items."""
        if self.whole is not None:
            return self.whole, self.value
        return n, max(batch, round(self.value * n / IMAGENET))


BOTH = ("max_targets", "max_candidates")
ITEMS = ("max_items",)
LIMITS = {
    "maxherding": Limit(BOTH, 50_000, "kernel coverage +", kernel_coverage),
    "uncertainty_herding": Limit(BOTH, 50_000, "kernel coverage +", kernel_coverage),
    "facility_location": Limit(BOTH, 50_000, "k-means cost -", kmeans_cost),
    "probcover": Limit(ITEMS, 50_000, "share in balls +", ball_coverage),
    "dcom": Limit(ITEMS, 50_000, "share in balls +", ball_coverage),
    "batchbald": Limit(ITEMS, 50_000, "joint information +", joint_information),
    "ldm": Limit(ITEMS, 25_000, "margin -", mean_margin),
    "bait": Limit(ITEMS, 500_000, "open information -", open_information),
    "refine": Limit(("num_batches",), 21, "kernel coverage +", kernel_coverage, whole=100),
}


def limits(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Every strategy that has a limit, without it and with it."""
    rows = []
    for problem in problems(options, work):
        for name in track([name for name in options.names if name in LIMITS], "limits"):
            limit = LIMITS[name]
            whole, part = limit.here(problem.n, options.batch)
            row = {"strategy": name, "classes": problem.num_classes, "objective": limit.title,
                   "option": limit.keys[0], "value": limit.value, "part": part}  # fmt: skip
            for side, value in (("whole", whole), ("limited", part)):
                chosen = tuple((key, value) for key in limit.keys)
                job = Job("ours", name, problem, options.batch, options.threads, options.seed,
                          options=chosen)  # fmt: skip
                row[side] = _measured(repeated(job, options), problem, limit.objective)
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
            row["strategy"], str(row["classes"]), row["option"], f"{row['value']:,}", f"{row['part']:,}",
            text(whole), text(limited), row["objective"],
            number(whole["objective"], 4), number(limited["objective"], 4),
        ])  # fmt: skip
    columns = ["strategy", "C", "option", "ImageNet", "here", "without s", "with s", "objective",
               "without", "with"]  # fmt: skip
    print_table(f"N {options.n}, d {options.dim}, B {options.batch}", columns, cells)
