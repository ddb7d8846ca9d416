"""Seconds of a query as the pool and as the batch grow."""

import argparse
import math
from pathlib import Path
from typing import Any

from _selection_data import Problem, make_problem
from _selection_run import Job, run_job

from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis.plots import COLORS, STYLES, new_axes, save
from dal_toolbox.analysis.strategy_table import GROUPS, group_of, needs_of
from dal_toolbox.progress import track

Curve = dict[str, dict[int, float]]  # seconds by strategy and size


def growth(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both curves of every strategy; a size is left out once a smaller one was too much."""
    (num_classes,) = options.classes[:1]
    largest = max(*options.sizes, options.n)
    problem = make_problem(work, largest, options.dim, num_classes, options.labeled,
                           dtype="float32", seed=options.seed)  # fmt: skip
    by_n: Curve = {name: {} for name in options.names}
    by_b: Curve = {name: {} for name in options.names}
    for name in track(options.names, "growth"):
        for n in sorted(options.sizes):
            if not _measure(by_n[name], n, name, n, options.batch, problem, options):
                break
        for batch in sorted(options.batches):
            if batch > options.n - options.labeled:
                break
            if not _measure(by_b[name], batch, name, options.n, batch, problem, options):
                break
        print(f"{name}: N {_text(by_n[name])}; B {_text(by_b[name])}", flush=True)
    plot(by_n, by_b, options.output.with_name("selection_growth.png"), options)
    slopes = {name: {"n": slope(by_n[name]), "batch": slope(by_b[name])} for name in by_n}
    return {"seconds_by_n": by_n, "seconds_by_batch": by_b, "exponents": slopes}


def _measure(
    curve: dict[int, float], key: int, name: str, n: int, batch: int, problem: Problem,
    options: argparse.Namespace,
) -> bool:  # fmt: skip
    """Whether the query stayed within its limits."""
    part = Problem(problem.folder, n, problem.num_classes)
    job = Job("ours", name, part, batch, options.threads, options.seed, True)
    outcome = run_job(job, seconds=options.limit, gib=options.memory)
    if outcome.seconds is None:
        print(f"{name}: N {n}, B {batch}: {outcome.failure}", flush=True)
        return False
    curve[key] = outcome.seconds
    return True


def slope(curve: dict[int, float]) -> float | None:
    """Exponent between the two largest sizes: seconds ∝ size^exponent."""
    if len(curve) < 2:
        return None
    (x, a), (y, b) = sorted(curve.items())[-2:]
    return math.log(max(b, 1e-9) / max(a, 1e-9)) / math.log(y / x)


def plot(by_n: Curve, by_b: Curve, path: Path, options: argparse.Namespace) -> None:
    figure, panels = new_axes(panels=2, width=14.5)
    limit = f"queries of at most {options.limit:g} s"
    titles = (f"B = {options.batch}: {limit}", f"N = {options.n:,}: {limit}")
    for axes, curves, title, label in zip(
        panels, (by_n, by_b), titles, ("pool size N", "batch size B"), strict=True
    ):
        seen = dict.fromkeys(GROUPS, 0)
        for name, curve in curves.items():
            group = group_of(needs_of(STRATEGIES[name]))
            color = COLORS[GROUPS.index(group)]
            style = STYLES[seen[group] % len(STYLES)]
            marker = "osv^Dx"[seen[group] // len(STYLES) % 6]
            seen[group] += 1
            axes.plot(list(curve), list(curve.values()), style, color=color, marker=marker,
                      markersize=3, linewidth=1, label=name)  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds", title=title)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=7, ncols=2)
    save(figure, path)


def _text(curve: dict[int, float]) -> str:
    return ", ".join(f"{size}: {seconds:.2g} s" for size, seconds in curve.items())
