"""Active-learning cycles on cached features."""

import dal_toolbox.starting  # noqa: F401  before what takes seconds

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import waiting
from rich.table import Table

from dal_toolbox.active_learning.evaluation import evaluation_on
from dal_toolbox.active_learning.initial import INITIAL, InitialSelection
from dal_toolbox.active_learning.journal import Journal
from dal_toolbox.active_learning.loop import run_cycles
from dal_toolbox.active_learning.oracles import ORACLES, JournaledOracle, Oracle
from dal_toolbox.active_learning.oracles.file import FileOracle, LabelsWanted
from dal_toolbox.active_learning.records import (
    CycleResult,
    append_result,
    read_results,
    resumable,
    write_picks,
)
from dal_toolbox.active_learning.strategies import STRATEGIES, QueryStrategy
from dal_toolbox.active_learning.strategies.base import check_needs
from dal_toolbox.analysis.curves import LearningCurve
from dal_toolbox.analysis.plots import plot_learning_curves
from dal_toolbox.arguments import at_least
from dal_toolbox.classifiers import CLASSIFIERS, Classifier
from dal_toolbox.config import build, check_extraction, in_keys, launch, load_features
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.errors import UserError
from dal_toolbox.features import DatasetFeatures
from dal_toolbox.metrics import area_under_learning_curve
from dal_toolbox.progress import console, log, track
from dal_toolbox.runs import RunFolder


def main(config: dict[str, Any], folder: Path) -> None:
    """Runs the cycles; an interrupted run continues with the picks that it would have made."""
    started = time.perf_counter()
    strategy, initial = check(config)
    run = RunFolder(folder, config, overwrite=config["overwrite"], lengthens=["num_cycles"])
    if run.finished:
        return
    bundles: list[DatasetBundle] = []  # none where features were computed elsewhere

    def look(bundle: DatasetBundle) -> None:
        bundles.append(bundle)
        check_pool(config, bundle.train.targets)

    data = load_features(config, check=look)
    check_pool(config, data.train.targets.numpy())
    journal = open_journal(run, data)
    oracle = make_oracle(config, data.train.targets.numpy(), run.path, data.train.names)
    if isinstance(oracle, FileOracle):
        oracle.read(journal)
    file = run.path / "results.jsonl"
    results = resumable(read_results(file), journal, file)
    start = initial.describe(strategy)
    if results:
        log.info("resuming after cycle %d", results[-1].cycle)
    else:
        log.info("the first %d items are chosen %s", config["num_initial"], start)
    num_classes = max(1, len(journal.classes or ()))
    cycles = run_cycles(
        data.train,
        strategy,
        JournaledOracle(oracle, journal, batch_size=None),
        make_classifier=partial(build, CLASSIFIERS, config["classifier"], num_classes=num_classes),
        evaluate=make_evaluation(data),
        initial=initial,
        num_classes=num_classes,
        num_initial=config["num_initial"],
        query_size=config["query_size"],
        num_cycles=config["num_cycles"],
        seed=config["random_seed"],
        resume=results,
        pending=journal.asked[len(results)] if len(journal.asked) > len(results) else (),
    )
    log.info("first cycle after %.1f s", time.perf_counter() - started)
    title, done, total = config["strategy"]["name"], len(results), config["num_cycles"] + 1
    try:
        for result in track(cycles, title, total=total, unit="cycles", done=done):
            append_result(file, result)
            results.append(result)
            write_picks(run.path / "picks.csv", results, journal.classes or ())
    except LabelsWanted as wanted:
        waiting.wait(oracle, journal, wanted, bundles[0].train if bundles else None)
        return
    write_picks(run.path / "picks.csv", results, journal.classes or ())
    notes = [f"initial labels {start}"] if initial.looks_at_labels else []
    finish(run, results, config, [*notes, *data.notes], start)


def check(config: dict[str, Any]) -> tuple[QueryStrategy, InitialSelection]:
    """Checks all that can be checked before data is opened; strategy and initial selection."""
    check_extraction(config)
    with in_keys():
        at_least(1, num_initial=config["num_initial"], query_size=config["query_size"])
        at_least(0, num_cycles=config["num_cycles"])
    strategy, initial = build(STRATEGIES, config["strategy"]), build(INITIAL, config["initial"])
    build(CLASSIFIERS, config["classifier"], num_classes=2)
    make_oracle(config, np.zeros(1, dtype=np.int64), Path(), ["none"])
    try:
        check_needs(strategy, CLASSIFIERS[config["classifier"]["name"]])
    except ValueError as error:
        name = config["classifier"]["name"]
        raise UserError(
            f"strategy={config['strategy']['name']} classifier={name}: {error}"
        ) from None
    return strategy, initial


def check_pool(config: dict[str, Any], targets: np.ndarray) -> None:
    """Checks whether the pool is large enough for the first labels, and has those of a simulation."""
    if config["num_initial"] > len(targets):
        raise UserError(
            f"num_initial={config['num_initial']}: must be at most the pool's {len(targets)} items"
        )
    unknown = int((targets < 0).sum())
    if unknown and config["oracle"]["name"] == "simulated":
        raise UserError(
            f"{unknown} of {len(targets)} items of the pool have no label, and oracle=simulated needs "
            "all: oracle=file lets a person answer"
        )


def make_oracle(
    config: dict[str, Any], targets: np.ndarray, folder: Path, names: Sequence[str]
) -> Oracle:
    """The oracle of the config."""
    locate = partial(waiting.locate, config)
    return build(
        ORACLES, config["oracle"], targets=targets, folder=folder, names=names, locate=locate
    )


def open_journal(run: RunFolder, data: DatasetFeatures) -> Journal:
    """The labels so far, of a run whose data are those that it began with, or more."""
    facts = {**data.facts, "number of items": str(len(data.train))}
    may_change = ["training data", "number of items"]
    before = run.compare(facts, may_change=may_change)
    journal = Journal(run.path / "labels.jsonl", items=data.train, classes=data.classes)
    refuse_lost_items(run, before, len(data.train))
    run.stand_on(facts, may_change=may_change)
    return journal


def refuse_lost_items(run: RunFolder, before: dict[str, str], size: int) -> None:
    """Raises an error if the training data are others and no more than before."""
    if "training data" not in before:
        return
    old = int(before.get("number of items", size))
    if old >= size:
        raise UserError(
            f"{run.path} was begun with other training data ({before['training data']}); items may "
            f"only be added: put the data back, choose another output_dir, or overwrite=true"
        )
    log.warning("the pool has grown from %d to %d items since the run began", old, size)


def make_evaluation(data: DatasetFeatures) -> Callable[[Classifier], dict[str, float]]:
    """Metrics on the test items that have a label; none where there are none."""
    if data.test is None or not bool((data.test.targets >= 0).any()):
        log.info("no labeled test item: accuracies are not measured")
        return lambda classifier: {}
    known = data.test.targets >= 0
    if bool(known.all()):
        return evaluation_on(data.test.values, data.test.targets)
    return evaluation_on(data.test.values[known], data.test.targets[known])


def finish(
    run: RunFolder,
    results: list[CycleResult],
    config: dict[str, Any],
    notes: list[str],
    start: str,
) -> None:
    """Draws the learning curve, prints it, and writes the results."""
    labels = [result.num_labeled for result in results]
    summary: dict[str, Any] = {"num_labeled": labels[-1], "metrics": results[-1].metrics}
    curve = learning_curve(results, config)
    if "accuracy" in curve.metrics:
        if len(curve.num_labeled) > 1:
            summary["area_under_learning_curve"] = area_under_learning_curve(
                curve.num_labeled.tolist(), curve.metrics["accuracy"].tolist()
            )
        plot_learning_curves([curve], run.path / "plots" / "learning_curve.png")
    console.print(to_table(results, config["strategy"]["name"]))
    run.finish({**summary, "initial": start, "notes": notes})


def learning_curve(results: list[CycleResult], config: dict[str, Any]) -> LearningCurve:
    """The metrics against the number of labels, at the points that have both."""
    points = {result.num_labeled: result.metrics for result in results if result.metrics}
    names = list(next(iter(points.values()), {}))
    return LearningCurve(
        strategy=config["strategy"]["name"],
        seed=config["random_seed"],
        num_labeled=np.array(list(points)),
        metrics={
            name: np.array([point[name] for point in points.values()], dtype=float)
            for name in names
        },
    )


def to_table(results: list[CycleResult], strategy: str) -> Table:
    """One row a cycle."""
    table = Table(title=strategy)
    for heading in ("labels", "accuracy", "NLL", "query s", "fit s"):
        table.add_column(heading, justify="right")
    for result in results:
        metrics, seconds = result.metrics, result.seconds
        shown = [f"{metrics[name]:.4f}" if name in metrics else "" for name in ("accuracy", "nll")]
        times = [f"{seconds[name]:.3f}" for name in ("query", "fit")]
        table.add_row(str(result.num_labeled), *shown, *times)
    return table


if __name__ == "__main__":
    launch("active_learning", main)
