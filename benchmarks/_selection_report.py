"""Medians of outcomes, and how they are printed."""

import argparse
import statistics
from typing import Any

from _selection_run import Job, Outcome, run_job


def repeated(job: Job, options: argparse.Namespace) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while len(outcomes) < options.repeats and not (outcomes and outcomes[0].failure):
        outcomes.append(run_job(job, seconds=options.limit, gib=options.memory))
    return outcomes


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Median and all seconds, largest memory, or why there is none."""
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if failures:
        return {"seconds": None, "failure": failures[0], "all_seconds": [], "peak_mib": None}
    seconds = [outcome.seconds for outcome in outcomes]
    memory = max(outcome.peak_mib for outcome in outcomes)
    return {"seconds": statistics.median(seconds), "all_seconds": seconds, "peak_mib": memory}


def text(row: dict[str, Any]) -> str:
    seconds = row["seconds"]
    return row["failure"].partition(":")[0] if seconds is None else number(seconds)


def number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
