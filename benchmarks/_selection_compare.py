"""Our strategies and scikit-activeml's in turn: seconds, memory, and how good the picks are."""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _bench import print_table, time_interleaved, version
from _selection_data import Head, Problem, problems
from _selection_objectives import OBJECTIVES, shared
from _selection_peers import PEERS
from _selection_report import number, summary, text
from _selection_run import Job, Outcome, run_job

from dal_toolbox.progress import track

# The peer follows the papers where our defaults differ from them.
PUBLISHED: dict[str, tuple[tuple[str, Any], ...]] = {
    "cal": (("num_neighbors", 10), ("candidates_per_pick", 1)),
    "probcover": (("purity", 0.95),),
}


def peers(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both sides in turn, round after round, each with a seed of its own."""
    names = [name for name in options.names if name in PEERS]
    rows: list[dict[str, Any]] = []
    predictions: dict[str, dict[str, float]] = {}
    for problem in problems(options, work):
        predictions[str(problem.num_classes)] = prediction_seconds(problem)
        runs: dict[tuple[str, str], list[Outcome]] = {}
        rounds = [(repeat, name) for repeat in range(options.repeats) for name in names]
        for repeat, name in track(rounds, f"C {problem.num_classes}"):
            for side in ("ours", "peer") if repeat % 2 == 0 else ("peer", "ours"):
                seed = options.seed + repeat
                job = Job(
                    side, name, problem, options.batch, options.threads, seed,
                    options=PUBLISHED.get(name, ()) if side == "ours" else (),
                )  # fmt: skip
                known = runs.setdefault((name, side), [])
                if not (known and known[0].failure):
                    known.append(run_job(job, seconds=options.limit, gib=options.memory))
                    print(f"{name}, {side}: {known[-1]} s", flush=True)
        rows += [compare(problem, name, runs) for name in names]
    show_peers(options, rows)
    libraries = {"scikit-activeml": version("scikit-activeml")}
    return {"rows": rows, "predictions": predictions, "peers": libraries}


def prediction_seconds(problem: Problem) -> dict[str, float]:
    """Of the head, and of its draws in blocks: no strategy that asks for them can take less."""
    head, x = Head(problem), torch.from_numpy(problem.features(mapped=False))

    def samples() -> None:
        for block in x.split(1024):
            F.linear(block, head.draws)

    timings = time_interleaved(
        {"head": lambda: head.logits(x), "draws": samples}, repeats=5, min_seconds=0.05
    )
    return {name: timing.median for name, timing in timings.items()}


def compare(
    problem: Problem, name: str, runs: dict[tuple[str, str], list[Outcome]]
) -> dict[str, Any]:
    """Medians of both sides, and the mean objective of their picks."""
    title, objective = OBJECTIVES[name]
    row: dict[str, Any] = {"strategy": name, "classes": problem.num_classes, "objective": title}
    for side in ("ours", "peer"):
        outcomes = runs[name, side]
        row[side] = summary(outcomes)
        values = [objective(problem, outcome.picks) for outcome in outcomes if outcome.picks]
        row[side]["objective"] = statistics.fmean(values) if values else None
    ours, theirs = runs[name, "ours"][0].picks, runs[name, "peer"][0].picks
    row["shared"] = shared(ours, theirs) if ours and theirs else None
    seconds = [row[side]["seconds"] for side in ("ours", "peer")]
    row["ratio"] = seconds[1] / seconds[0] if all(seconds) else None
    return row


def show_peers(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    cells = []
    for row in rows:
        ours, peer = row["ours"], row["peer"]
        cells.append([
            row["strategy"], str(row["classes"]), text(ours), text(peer),
            number(row["ratio"]), number(ours["peak_mib"]), number(peer["peak_mib"]),
            row["objective"], number(ours["objective"], 4), number(peer["objective"], 4),
            number(row["shared"]),
        ])  # fmt: skip
    columns = ["strategy", "C", "ours s", "peer s", "peer/ours", "ours MiB", "peer MiB",
               "objective", "ours", "peer", "shared"]  # fmt: skip
    size = f"N {options.n}, d {options.dim}, B {options.batch}, L {options.labeled}"
    print_table(f"scikit-activeml {version('scikit-activeml')}: {size}", columns, cells)
