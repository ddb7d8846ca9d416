"""Active-learning cycles on cached features."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from dal_toolbox.active_learning.evaluation import evaluation_on
from dal_toolbox.active_learning.initial import INITIAL
from dal_toolbox.active_learning.loop import run_cycles
from dal_toolbox.active_learning.oracles import ORACLES, JournaledOracle
from dal_toolbox.active_learning.records import CycleResult, append_result, read_results
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis.curves import load_curves
from dal_toolbox.analysis.plots import plot_learning_curves
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.config import build, launch, load_features
from dal_toolbox.metrics import area_under_learning_curve
from dal_toolbox.progress import console, log, track
from dal_toolbox.runs import RunFolder

started = time.perf_counter()


def main(config: dict[str, Any], folder: Path) -> None:
    """Runs the cycles; an interrupted run continues with the picks that it would have made."""
    run = RunFolder(folder, config, overwrite=config["overwrite"])
    if run.finished:
        return
    data = load_features(config)
    oracle = build(ORACLES, config["oracle"], targets=data.train.targets.numpy())
    results = read_results(run.path / "results.jsonl")
    if results:
        log.info("resuming after cycle %d", results[-1].cycle)
    log.info("first cycle %.1f s after the imports", time.perf_counter() - started)
    cycles = run_cycles(
        data.train,
        build(STRATEGIES, config["strategy"]),
        JournaledOracle(oracle, run.path / "labels.jsonl", batch_size=None),
        make_classifier=partial(
            build, CLASSIFIERS, config["classifier"], num_classes=data.num_classes
        ),
        evaluate=evaluation_on(data.test.values, data.test.targets),
        initial=build(INITIAL, config["initial"]),
        num_classes=data.num_classes,
        num_initial=config["num_initial"],
        query_size=config["query_size"],
        num_cycles=config["num_cycles"],
        seed=config["random_seed"],
        resume=results,
    )
    left = config["num_cycles"] + 1 - len(results)
    for result in track(cycles, config["strategy"]["name"], total=left):
        append_result(run.path / "results.jsonl", result)
        results.append(result)
    finish(run, results, config["strategy"]["name"])


def finish(run: RunFolder, results: list[CycleResult], strategy: str) -> None:
    """Writes results and plot, and prints the learning curve."""
    accuracies = [result.metrics["accuracy"] for result in results]
    labels = [result.num_labeled for result in results]
    run.finish({
        "num_labeled": labels[-1],
        "metrics": results[-1].metrics,
        "area_under_learning_curve": area_under_learning_curve(labels, accuracies),
    })  # fmt: skip
    plot_learning_curves(load_curves(run.path), run.path / "plots" / "learning_curve.png")
    console.print(to_table(results, strategy))


def to_table(results: list[CycleResult], strategy: str) -> Table:
    """One row a cycle."""
    table = Table(title=strategy)
    for heading in ("labels", "accuracy", "NLL", "query s", "fit s"):
        table.add_column(heading, justify="right")
    for result in results:
        metrics, seconds = result.metrics, result.seconds
        table.add_row(
            str(result.num_labeled),
            f"{metrics['accuracy']:.4f}",
            f"{metrics['nll']:.4f}",
            f"{seconds['query']:.3f}",
            f"{seconds['fit']:.3f}",
        )
    return table


if __name__ == "__main__":
    launch("active_learning", main)
