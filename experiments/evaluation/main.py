"""A classifier on frozen features: linear evaluation, transfer, and accuracy per number of labels."""

import dal_toolbox.starting  # noqa: F401  before what takes seconds

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from dal_toolbox import metrics
from dal_toolbox.active_learning.evaluation import evaluation_on
from dal_toolbox.analysis.plots import plot_label_efficiency, plot_pretraining
from dal_toolbox.arguments import at_least, between, one_of
from dal_toolbox.classifiers import CLASSIFIERS, Classifier
from dal_toolbox.config import build, check_extraction, in_keys, launch, load_features
from dal_toolbox.datasets.selection import images_per_class
from dal_toolbox.errors import UserError
from dal_toolbox.features import DatasetFeatures, Features
from dal_toolbox.io import append_lines, read_lines
from dal_toolbox.progress import console, log, track
from dal_toolbox.runs import RunFolder
from dal_toolbox.seeding import generator, seed_everything

Row = dict[str, Any]
MOST_REPEATS = 100_000  # all are listed before the first
NUMBERS = ("images_per_class", "repeat", "num_labeled", "train_accuracy", "accuracy", "nll")


def main(config: dict[str, Any], folder: Path) -> None:
    """Fits and measures; an interrupted run goes on with the fit that it was at."""
    check(config)
    run = RunFolder(folder, config, overwrite=config["overwrite"], lengthens=["num_repeats"])
    if run.finished:
        return
    few = config["images_per_class"] is not None
    rows: list[Row] = []
    curves: list[Row] = []
    for source in [config["features"]] + ["untrained"] * config["compare_untrained"]:
        data = features_of(source, config)
        if source == config["features"]:
            run.stand_on(data.facts)
        if few:
            rows += fit_on_few(run, config, source, data)
        else:
            curve, row = fit_on_all(config, source, data)
            curves, rows = _merged(curves, curve), [*rows, row]
    if few:
        plot_label_efficiency(rows, run.path / "plots" / "label_efficiency.png")
    elif curves:
        run.write_metrics(curves)
        plot_pretraining(curves, run.path / "plots" / "curves.png")
    run.finish({"rows": rows, "classes": list(data.classes)})
    console.print(to_table(rows, f"{config['classifier']['name']} on {data.name}"))


def check(config: dict[str, Any]) -> None:
    """Checks the values of the config before data is opened."""
    check_extraction(config)
    with in_keys():
        one_of([True, False], compare_untrained=config["compare_untrained"])
        _check_subsets(config["images_per_class"], config["num_repeats"])
    if config["compare_untrained"] and not (config["encoder_checkpoint"] or config.get("encoder")):
        raise UserError(
            f"compare_untrained=true: features={config['features']} has no encoder to compare with; "
            "give encoder_checkpoint=<run folder of experiments/ssl/main.py>, or encoder=<name>"
        )
    make_classifier(config, num_classes=2)


def features_of(source: str, config: dict[str, Any]) -> DatasetFeatures:
    """The features of ``source``, of the items that have a label.

    Raises:
        UserError: There is nothing to learn from, or nothing to measure with.
    """
    seed_everything(config["random_seed"])  # untrained: the weights with which pretraining began
    data = load_features({**config, "features": source})
    parts = {"train": data.train.labeled(), "test": data.test and data.test.labeled()}
    for split, part in parts.items():
        if not part:
            raise UserError(
                f"{data.name} has no {split} item with a label; nothing can be evaluated"
            )
    return replace(data, **parts)


def fit_on_all(config: dict[str, Any], source: str, data: DatasetFeatures) -> tuple[list[Row], Row]:
    """Fits on every training item; a row an epoch of classifiers that learn in epochs."""
    classifier = make_classifier(config, data.num_classes)
    curve: list[Row] = []
    if hasattr(classifier, "fit_epochs"):
        prefix = "untrained/" if source == "untrained" and config["compare_untrained"] else ""
        epochs = classifier.fit_epochs(data.train.values, data.train.targets)
        for epoch in track(epochs, f"fitting, {source}", total=classifier.num_epochs):
            curve.append({"epoch": epoch, **curve_point(classifier, data, prefix)})
    else:
        classifier.fit(data.train.values, data.train.targets)
    return curve, {"features": source, **measure(classifier, data.train, data.test)}


def fit_on_few(
    run: RunFolder, config: dict[str, Any], source: str, data: DatasetFeatures
) -> list[Row]:
    """Fits on some images of each class; every fit is kept as soon as it is done."""
    subsets = list(_subsets(config))
    rows = [row for row in _kept_rows(run.path / "evaluation.jsonl") if row["features"] == source]
    done = {(row["images_per_class"], row["repeat"]) for row in rows}
    for number, repeat in track([s for s in subsets if s not in done], f"fitting, {source}"):
        rng = generator(config["random_seed"], "images_per_class", repeat)
        part = data.train.subset(images_per_class(data.train.targets.numpy(), number, rng))
        classifier = make_classifier(config, data.num_classes)
        classifier.fit(part.values, part.targets)
        row = {"features": source, "images_per_class": number, "repeat": repeat}
        row |= measure(classifier, part, data.test)
        append_lines(run.path / "evaluation.jsonl", [row])
        rows.append(row)
    return rows


def make_classifier(config: dict[str, Any], num_classes: int) -> Any:
    """The classifier of the config, unfitted."""
    return build(CLASSIFIERS, config["classifier"], num_classes=num_classes)


def curve_point(classifier: Classifier, data: DatasetFeatures, prefix: str) -> Row:
    """Loss and accuracy on both splits."""
    row = {}
    for split, features in (("train", data.train), ("test", data.test)):
        logits = classifier.logits(features.values)
        row[f"{prefix}{split}/loss"] = metrics.nll(logits, features.targets)
        row[f"{prefix}{split}/accuracy"] = metrics.accuracy(logits, features.targets)
    return row


def measure(classifier: Classifier, train: Features, test: Features) -> Row:
    """Accuracy on the training items, and all metrics of the test split."""
    accuracy = metrics.accuracy(classifier.logits(train.values), train.targets)
    scores = evaluation_on(test.values, test.targets)(classifier)
    return {"num_labeled": len(train), "train_accuracy": accuracy, **scores}


def to_table(rows: list[Row], title: str) -> Table:
    """One row a source and number of images; of several draws mean ± standard deviation."""
    table = Table(title=title)
    table.add_column("features")
    for heading in ("images per class", "labels", "train accuracy", "test accuracy", "test NLL"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, Any], list[Row]] = {}
    for row in rows:
        key = row["features"], row.get("images_per_class", "all")
        groups.setdefault(key, []).append(row)
    for (source, number), group in groups.items():
        cells = (_spread(group, key) for key in ("train_accuracy", "accuracy", "nll"))
        table.add_row(source, str(number), str(group[0]["num_labeled"]), *cells)
    return table


def _spread(rows: list[Row], key: str) -> str:
    values = torch.tensor([row[key] for row in rows], dtype=torch.float64)
    return f"{values.mean():.4f}" + (f" ± {values.std():.4f}" if len(rows) > 1 else "")


def _check_subsets(numbers: Any, num_repeats: Any) -> None:
    if numbers is None:
        return
    if not isinstance(numbers, list) or not numbers:
        raise ValueError(f"images_per_class={numbers}: must be a list, such as [10,50,200]")
    for number in numbers:
        at_least(1, images_per_class=number)
    at_least(1, num_repeats=num_repeats)
    between(1, MOST_REPEATS, num_repeats=num_repeats)


def _subsets(config: dict[str, Any]) -> Iterator[tuple[int, int]]:
    for number in sorted(set(config["images_per_class"])):
        for repeat in range(config["num_repeats"]):
            yield number, repeat


def _kept_rows(file: Path) -> list[Row]:
    """Fits of an earlier start; a line that is none is named, and its fit made again."""
    rows = read_lines(file)
    for number, row in enumerate(rows, start=1):
        if not _is_fit(row):
            log.warning("%s, line %d is damaged; it is fitted again", file, number)
    return [row for row in rows if _is_fit(row)]


def _is_fit(row: Row) -> bool:
    return "features" in row and all(isinstance(row.get(key), int | float) for key in NUMBERS)


def _merged(rows: list[Row], more: list[Row]) -> list[Row]:
    """Rows of the same epochs side by side."""
    return [{**a, **b} for a, b in zip(rows, more, strict=True)] if rows else more


if __name__ == "__main__":
    launch("evaluation", main)
