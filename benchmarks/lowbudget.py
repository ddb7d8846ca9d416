"""All query strategies from 10 labels on: which kind leads while labels are few, and which later.

    python benchmarks/lowbudget.py                                         # raw pixels of digits
    python benchmarks/lowbudget.py --encoder-checkpoint output/quickstart/ssl --workers 2
    python benchmarks/lowbudget.py --encoder-checkpoint output/ssl --workers 2 --pool 5000 \
        --root cifar10 --work output/lowbudget_cifar10 --output benchmarks/results/lowbudget_cifar10.json

Every strategy starts from the same random labels under one seed. The classifier is ``laplace``, whose
predictions are those of ``linear``. With --pool every seed draws its own pool. Finished cycles are kept in --work, one file for each strategy and
seed: an interrupted comparison goes on where it was. Left out by default: refine, whose query is some
500 queries of others.
"""

import argparse
import json
import os
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _bench import RESULTS, facts, print_table

from dal_toolbox.active_learning import append_result, evaluation_on, read_results, run_cycles
from dal_toolbox.active_learning.initial import INITIAL
from dal_toolbox.active_learning.oracles import ORACLES
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis.plots import COLORS, new_axes, save
from dal_toolbox.analysis.statistics import compare, holm, mean_and_interval
from dal_toolbox.analysis.strategy_table import GROUPS, group_of, needs_of
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.datasets import DATASETS, DatasetBundle
from dal_toolbox.encoders.checkpoint import load_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features import Features, FeatureStore
from dal_toolbox.features.dataset import dataset_features
from dal_toolbox.metrics import area_under_learning_curve
from dal_toolbox.progress import track
from dal_toolbox.seeding import generator

SLOW = ("refine",)
BUDGETS = (20, 50, 100, 200)
Curves = dict[str, np.ndarray]  # accuracies (seeds, cycles) by strategy


def main() -> None:
    options = parse_arguments()
    prepare(options)
    run_all(options)
    labels, curves = collect(options)
    rows = table(labels, curves)
    leaders = leading_groups(labels, curves)
    report(rows, leaders, labels)
    plot(labels, curves, options)
    write(options, rows, leaders)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder-checkpoint", type=Path, help="run folder; raw pixels without")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument(
        "--root", type=Path, help="instead of a data set: a folder of class folders"
    )
    parser.add_argument("--pool", type=int, help="items to choose from; all of the training split")
    parser.add_argument("--strategies", help="names, separated by commas; all by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--query-size", type=int, default=10)
    parser.add_argument("--initial", choices=("random", "none"), default="random",
                        help="none: the strategy makes the first choice, too")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--work", type=Path, default=Path("output/lowbudget"))
    parser.add_argument("--output", type=Path, default=RESULTS / "lowbudget.json")
    options = parser.parse_args()
    names = options.strategies.split(",") if options.strategies else list(STRATEGIES)
    options.names = [name for name in names if options.strategies or name not in SLOW]
    for name in options.names:
        STRATEGIES[name]  # an unknown one ends here, with a suggestion
    return options


def prepare(options: argparse.Namespace) -> None:
    """Refuses a folder with cycles of another setting."""
    names = ("encoder_checkpoint", "dataset", "root", "pool", "query_size", "initial")
    setting = {name: str(getattr(options, name)) for name in names}
    setting = {name: value for name, value in setting.items() if value != "None"}
    file = options.work / "setting.json"
    if file.exists() and json.loads(file.read_text()) != setting:
        raise UserError(f"{options.work} holds cycles of {file.read_text()}; give another --work")
    options.work.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(setting))
    load(options)  # features are extracted once, before processes share them


def run_all(options: argparse.Namespace) -> None:
    """Every strategy with every seed; several processes where there are workers."""
    jobs = [(seed, name) for seed in range(options.seeds) for name in options.names]
    if options.workers == 1:
        for seed, name in track(jobs, "runs"):
            run_one(options, name, seed)
        return
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        futures = [pool.submit(run_one, options, name, seed) for seed, name in jobs]
        for future in track(as_completed(futures), "runs", total=len(futures)):
            future.result()


def run_one(options: argparse.Namespace, name: str, seed: int) -> None:
    """One learning curve, continued where its file ends."""
    path = file_of(options, name, seed)
    path.parent.mkdir(exist_ok=True)
    results = read_results(path)
    if len(results) > options.cycles:
        return
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    data = load(options)
    train = draw_pool(data.train, options.pool, seed)
    cycles = run_cycles(
        train,
        STRATEGIES.build(name),
        ORACLES.build("simulated", targets=train.targets.numpy()),
        make_classifier=partial(CLASSIFIERS.build, "laplace", num_classes=data.num_classes),
        evaluate=evaluation_on(data.test.values, data.test.targets),
        initial=INITIAL.build(options.initial),
        num_classes=data.num_classes,
        num_initial=options.query_size,
        query_size=options.query_size,
        num_cycles=options.cycles,
        seed=seed,
        resume=results,
    )
    for result in cycles:
        append_result(path, result)


def draw_pool(train: Features, size: int | None, seed: int) -> Features:
    """So many of the items at random, in their order; all without a size."""
    if size is None or size >= len(train):
        return train
    rows = np.sort(generator(seed, "pool").choice(len(train), size, replace=False))
    names = [train.names[row] for row in rows]
    return Features(train.values[rows], train.targets[rows], names, f"{train.key}-{seed}")


def make_bundle(options: argparse.Namespace) -> DatasetBundle:
    if options.root is None:
        return DATASETS.build(options.dataset)
    return DATASETS.build("folder", dataset_path=Path("data"), num_workers=2, root=options.root)


def load(options: argparse.Namespace) -> Any:
    checkpoint = options.encoder_checkpoint
    return dataset_features(
        "raw" if checkpoint is None else "encoder",
        lambda: make_bundle(options),
        store=FeatureStore(options.work / "features"),
        make_encoder=lambda bundle: load_encoder(checkpoint),
    )


def file_of(options: argparse.Namespace, name: str, seed: int) -> Path:
    return options.work / name / f"{seed}.jsonl"


def collect(options: argparse.Namespace) -> tuple[np.ndarray, Curves]:
    """Numbers of labels (cycles,) and all curves."""
    curves: Curves = {}
    for name in options.names:
        runs = [read_results(file_of(options, name, seed)) for seed in range(options.seeds)]
        rows = [run[: options.cycles + 1] for run in runs]
        curves[name] = np.array([[r.metrics["accuracy"] for r in row] for row in rows])
        labels = np.array([r.num_labeled for r in rows[0]])
    return labels, curves


def table(labels: np.ndarray, curves: Curves) -> list[dict[str, Any]]:
    """Best area first: accuracies at some budgets, area, and the paired difference to random."""
    rows = []
    areas = {name: areas_of(labels, values) for name, values in curves.items()}
    for name, values in curves.items():
        row: dict[str, Any] = {"strategy": name, "group": group(name)}
        for budget in present(labels):
            row[f"at_{budget}"] = float(values[:, labels == budget].mean())
        _, half = mean_and_interval(areas[name][:, None])
        row |= {"area": float(areas[name].mean()), "half": float(half[0]), "p": None}
        if name != "random" and "random" in curves and len(values) > 1:
            comparison = compare(areas[name], areas["random"])
            row |= {"difference": comparison.difference, "p": comparison.p_t}
        rows.append(row)
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p"] = float(p)
    return sorted(rows, key=lambda row: -row["area"])


def areas_of(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([area_under_learning_curve(labels.tolist(), row.tolist()) for row in values])


def present(labels: np.ndarray) -> list[int]:
    return [budget for budget in BUDGETS if budget in labels]


def group(name: str) -> str:
    return group_of(needs_of(STRATEGIES[name]) if name in STRATEGIES else ())


def group_medians(curves: Curves) -> dict[str, np.ndarray]:
    """Median of the strategies of a group. Shape of each: (cycles,)."""
    members = {kind: [curves[n].mean(axis=0) for n in curves if group(n) == kind]
               for kind in GROUPS}  # fmt: skip
    return {kind: np.median(values, axis=0) for kind, values in members.items() if values}


def leading_groups(labels: np.ndarray, curves: Curves) -> list[dict[str, Any]]:
    """At some budgets: the group with the best median, and the best strategy."""
    medians = group_medians({name: curves[name] for name in curves if group(name) != "combination"})
    leaders = []
    for budget in present(labels):
        at = int(np.flatnonzero(labels == budget)[0])
        lead = max(medians, key=lambda kind: medians[kind][at])
        best = max(curves, key=lambda name: curves[name][:, at].mean())
        leaders.append({
            "labels": budget, "group": lead, "strategy": best,
            "medians": {kind: float(values[at]) for kind, values in medians.items()},
            "best": float(curves[best][:, at].mean()),
        })  # fmt: skip
    return leaders


def report(rows: list[dict[str, Any]], leaders: list[dict[str, Any]], labels: np.ndarray) -> None:
    budgets = present(labels)
    columns = ["strategy", "group", *(f"at {b}" for b in budgets), "area", "±", "vs random", "p"]
    cells = [
        [row["strategy"], row["group"], *(f"{100 * row[f'at_{b}']:.1f}" for b in budgets),
         f"{100 * row['area']:.2f}", f"{100 * row['half']:.2f}",
         f"{100 * row['difference']:+.2f}" if "difference" in row else "",
         f"{row['p']:.3f}" if row["p"] is not None else ""]
        for row in rows
    ]  # fmt: skip
    print_table(f"Test accuracy, %; area over {labels[0]} to {labels[-1]} labels", columns, cells)
    for leader in leaders:
        others = ", ".join(
            f"{kind} {100 * value:.1f}"
            for kind, value in sorted(leader["medians"].items(), key=lambda item: -item[1])
        )
        print(f"{leader['labels']} labels: {leader['group']} leads (medians of groups: {others}); "
              f"best is {leader['strategy']} with {100 * leader['best']:.1f} %")  # fmt: skip
    if leaders:
        few, many = leaders[0], leaders[-1]
        print(f"With few labels ({few['labels']}) {few['group']} leads, later ({many['labels']}) "
              f"{many['group']} does.")  # fmt: skip


def plot(labels: np.ndarray, curves: Curves, options: argparse.Namespace) -> None:
    """Accuracy, and what is gained over random choice; the color is that of the group."""
    figure, panels = new_axes(panels=2, width=13.0)
    base = curves["random"].mean(axis=0) if "random" in curves else None
    for axes, less in zip(panels, (0.0, base), strict=True):
        if less is None:
            continue
        for name, values in curves.items():
            color = COLORS[GROUPS.index(group(name))]
            y = 100 * (values.mean(axis=0) - less)
            axes.plot(labels, y, color=color, linewidth=0.7, alpha=0.5)
        for kind, mean in group_medians(curves).items():
            color = COLORS[GROUPS.index(kind)]
            axes.plot(labels, 100 * (mean - less), color=color, linewidth=2.5, label=kind)
    named = best_at(labels, curves)
    ends = np.array([100 * (curves[name].mean(axis=0) - (0.0 if base is None else base))[-1]
                     for name in named])  # fmt: skip
    low, high = panels[1].get_ylim()
    for name, y in zip(named, spread(ends, (high - low) / 30), strict=True):
        panels[1].annotate(name, (labels[-1], y), fontsize=7, xytext=(3, 0), va="center",
                           textcoords="offset points", color=COLORS[GROUPS.index(group(name))])  # fmt: skip
    panels[0].set(xlabel="labels", ylabel="test accuracy, %",
                  title=f"{title_of(options)}: means of {options.seeds} seeds; thick: median of a group")  # fmt: skip
    panels[1].set(xlabel="labels", ylabel="percentage points over random choice")
    panels[0].legend(frameon=False)
    save(figure, options.output.with_suffix(".png"))


def spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Heights of labels, pushed upwards where two are nearer than a gap."""
    spread = heights.copy()
    order = heights.argsort()
    for below, above in pairwise(order):
        spread[above] = max(spread[above], spread[below] + gap)
    return spread


def title_of(options: argparse.Namespace) -> str:
    return options.dataset if options.root is None else options.root.resolve().name


def best_at(labels: np.ndarray, curves: Curves) -> list[str]:
    """The strategy of each group with the best area: few enough to be named."""
    best: dict[str, tuple[float, str]] = {}
    for name, values in curves.items():
        candidate = (float(areas_of(labels, values).mean()), name)
        best[group(name)] = max(best.get(group(name), candidate), candidate)
    return [name for _, name in best.values()]


def write(
    options: argparse.Namespace, rows: list[dict[str, Any]], leaders: list[dict[str, Any]]
) -> None:
    kept = {key: str(value) if isinstance(value, Path) else value
            for key, value in vars(options).items() if key not in ("output", "work")}  # fmt: skip
    document = {"results": {"options": kept, "rows": rows, "leaders": leaders}, **facts()}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.output.with_name(f".{options.output.name}")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(options.output)


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "140")  # of a table that goes to a file
    main()
