"""Plots for people who would rather look than read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dal_toolbox.analysis.curves import LearningCurve, by_strategy, values
from dal_toolbox.analysis.statistics import mean_and_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart by color-blind readers too; then line styles tell.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
STYLES = ("-", "--", ":", "-.")


def plot_learning_curves(
    curves: Sequence[LearningCurve], path: Path, metric: str = "accuracy"
) -> None:
    """Draws mean and 95 % confidence interval of a metric against the number of labels."""
    groups = by_strategy(curves)
    figure, axes = new_axes()
    for i, (name, runs) in enumerate(_best_first(groups, metric).items()):
        mean, half = mean_and_interval(values(runs, metric))
        x, color = runs[0].num_labeled, COLORS[i % len(COLORS)]
        style = STYLES[i // len(COLORS) % len(STYLES)]
        axes.plot(x, mean, style, color=color, marker="o", markersize=3, label=name)
        axes.fill_between(x, mean - half, mean + half, color=color, alpha=0.15, linewidth=0)
    seeds = max(len(runs) for runs in groups.values())
    spread = f"mean of {seeds} seeds, band: 95 % confidence" if seeds > 1 else "1 seed"
    axes.set(xlabel="labels", ylabel=f"test {metric}", title=f"Learning curves ({spread})")
    axes.legend(frameon=False, ncols=1 + len(groups) // 12)
    save(figure, path)


def plot_pretraining(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws loss and evaluation accuracies against epochs.

    Args:
        rows: Rows of ``metrics.csv``; keys that end in ``accuracy`` or ``top1`` share an axis.
        path: PNG file to write.
    """
    figure, axes = new_axes(panels=2, width=9.0)
    losses = _series(rows, lambda key: key.endswith("loss"))
    accuracies = _series(rows, lambda key: key.endswith(("accuracy", "top1", "top5")))
    for panel, series, label in zip(axes, (losses, accuracies), ("loss", "accuracy"), strict=True):
        for color, (name, (x, y)) in zip(COLORS, series.items(), strict=False):
            panel.plot(
                x, y, color=color, marker="o" if len(x) < 30 else None, markersize=3, label=name
            )
        panel.set(xlabel="epoch", ylabel=label)
        if series:
            panel.legend(frameon=False)
    save(figure, path)


def plot_label_efficiency(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws test accuracy against the number of labeled images of each class.

    Args:
        rows: ``features`` (of what they are), ``images_per_class`` and ``accuracy`` of every fit;
            several of a number give a band.
        path: PNG file to write.
    """
    figure, axes = new_axes()
    x = sorted({row["images_per_class"] for row in rows})
    for color, source in zip(COLORS, dict.fromkeys(row["features"] for row in rows), strict=False):
        own = [row for row in rows if row["features"] == source]
        draws = np.array(
            [[row["accuracy"] for row in own if row["images_per_class"] == n] for n in x]
        )
        mean, half = mean_and_interval(draws.T)
        axes.plot(x, mean, color=color, marker="o", markersize=4, label=source)
        axes.fill_between(x, mean - half, mean + half, color=color, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(x, [str(n) for n in x])
    axes.minorticks_off()
    spread = (
        f"mean of {len(draws[0])} draws, band: 95 % confidence" if len(draws[0]) > 1 else "1 draw"
    )
    axes.set(xlabel="labeled images per class", ylabel="test accuracy", title=spread)
    save(figure, path)


def _series(rows: Sequence[Mapping[str, Any]], wanted: Any) -> dict[str, tuple[list, list]]:
    series: dict[str, tuple[list, list]] = {}
    for row in rows:
        for key, value in row.items():
            if wanted(key) and value not in ("", None):
                x, y = series.setdefault(key, ([], []))
                x.append(float(row["epoch"]))
                y.append(float(value))
    return series


def _best_first(
    groups: Mapping[str, list[LearningCurve]], metric: str
) -> dict[str, list[LearningCurve]]:
    return dict(sorted(groups.items(), key=lambda item: -float(np.mean(values(item[1], metric)))))


def new_axes(panels: int = 1, width: float = 6.4) -> tuple["Figure", Any]:
    """A figure with one or more plain panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots(1, panels)
    for panel in np.atleast_1d(axes):
        _plain(panel)
    return figure, axes


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save(figure: "Figure", path: Path) -> None:
    """Writes a PNG file that is either complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)
