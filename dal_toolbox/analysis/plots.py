"""Plots for people who would rather look than read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from dal_toolbox.analysis.figures import legend_beside, legends_above, new_axes, save
from dal_toolbox.analysis.grouping import LearningCurve, by_setting, by_strategy, pairs, values
from dal_toolbox.analysis.names import for_plot
from dal_toolbox.analysis.scales import scale_of
from dal_toolbox.analysis.statistics import mean_and_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, told apart by color-blind readers too; then line styles tell.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
STYLES = ("-", "--", ":", "-.")
MARKERS = "osv^D"
TITLE = 60  # characters of a line above a panel
GRAY = "#777777"  # of ``random``, and of no other strategy

Looks = Mapping[str, dict[str, Any]]
Groups = Mapping[str, list[LearningCurve]]


def plot_learning_curves(
    curves: Sequence[LearningCurve],
    path: Path,
    metric: str = "accuracy",
    baseline: str = "random",
    looks: Looks | None = None,
) -> None:
    """Draws a metric against the number of labels, and beside it the differences to a baseline.

    Lines are means over seeds, bands 95 % confidence intervals. Differences are paired by seed, and
    positive where a strategy is better. Every setting has a row of its own.

    Args:
        curves: Runs of one or more settings.
        path: PNG file to write.
        metric: Name of the metric.
        baseline: Name of a strategy; without runs of it there are no differences.
        looks: Color and line of each strategy, by default :func:`looks_of` them.
    """
    save(draw_learning_curves(curves, metric, baseline, looks), path)


def draw_learning_curves(
    curves: Sequence[LearningCurve],
    metric: str = "accuracy",
    baseline: str = "random",
    looks: Looks | None = None,
) -> "Figure":
    """The figure of :func:`plot_learning_curves`."""
    looks = looks or looks_of(sorted(curve.strategy for curve in curves))
    rows = {setting: by_strategy(own) for setting, own in by_setting(curves).items()}
    panels = 2 if any(len(groups) > 1 and baseline in groups for groups in rows.values()) else 1
    figure, axes = new_axes(panels=panels, width=5.4 * panels, rows=len(rows))
    axes = np.reshape(axes, (len(rows), panels))
    handles: dict[str, Any] = {}
    for panel in axes.flat:
        panel.xaxis.get_major_locator().set_params(integer=True)
    for (setting, groups), own in zip(rows.items(), axes, strict=True):
        handles |= _draw_means(own[0], groups, metric, looks)
        own[0].set_title("\n".join(wrap(for_plot(setting, 240), TITLE)), fontsize=10)
        if panels == 2:
            _draw_differences(own[1], groups, metric, baseline, looks)
    legend_beside(figure, [(for_plot(name), line) for name, line in handles.items()])
    return figure


def looks_of(strategies: Sequence[str]) -> Looks:
    """Color, line style and marker of each strategy: no two alike, ``random`` gray."""
    looks: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(strategies):
        colors = (GRAY,) if name.partition(" ")[0] == "random" else COLORS[:-1]  # without gray
        i = sum(look["color"] in colors for look in looks.values())
        looks[name] = {
            "color": colors[i % len(colors)],
            "linestyle": STYLES[i // len(colors) % len(STYLES)],
            "marker": MARKERS[i // (len(colors) * len(STYLES)) % len(MARKERS)],
            "markersize": 3,
        }
    return looks


def plot_pretraining(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws loss and evaluation accuracies against epochs.

    Args:
        rows: Rows of ``metrics.csv``; keys that end in ``accuracy`` or ``top1`` share an axis.
        path: PNG file to write.
    """
    save(draw_pretraining(rows), path)


def draw_pretraining(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """The figure of :func:`plot_pretraining`."""
    figure, axes = new_axes(panels=2, width=9.0)
    losses = _series(rows, lambda key: key.endswith("loss"))
    accuracies = _series(rows, lambda key: key.endswith(("accuracy", "top1", "top5")))
    for panel, series, label in zip(axes, (losses, accuracies), ("loss", "accuracy"), strict=True):
        for name, look in looks_of(list(series)).items():
            x, y = series[name]
            marker = look["marker"] if len(x) < 30 else None
            panel.plot(x, y, **{**look, "marker": marker}, label=for_plot(name))
        panel.set(xlabel="epoch", ylabel=label)
    legends_above(figure)
    return figure


def plot_label_efficiency(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws test accuracy against the number of labeled images of each class.

    Args:
        rows: ``features`` (of what they are), ``images_per_class`` and ``accuracy`` of every fit;
            several of a number give a band.
        path: PNG file to write.
    """
    save(draw_label_efficiency(rows), path)


def draw_label_efficiency(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """The figure of :func:`plot_label_efficiency`."""
    figure, axes = new_axes()
    x = sorted({row["images_per_class"] for row in rows})
    for source, look in looks_of([row["features"] for row in rows]).items():
        own = [row for row in rows if row["features"] == source]
        draws = np.array(
            [[row["accuracy"] for row in own if row["images_per_class"] == n] for n in x]
        )
        _draw_band(axes, x, draws.T, look, source)
    axes.set_xscale("log")
    axes.set_xticks(x, [str(n) for n in x])
    axes.minorticks_off()
    spread = (
        f"mean of {len(draws[0])} draws, band: 95 % confidence" if len(draws[0]) > 1 else "1 draw"
    )
    axes.set(xlabel=f"labeled images per class ({spread})", ylabel="test accuracy")
    legends_above(figure)
    return figure


def _draw_means(axes: "Axes", groups: Groups, metric: str, looks: Looks) -> dict[str, Any]:
    """Means of all strategies; their lines, the best strategy first."""
    scale = scale_of(metric)
    handles = {
        name: _draw_band(
            axes, runs[0].num_labeled, scale.factor * values(runs, metric), looks[name], name
        )
        for name, runs in _best_first(groups, metric).items()
    }
    unit = f" in{scale.unit}" if scale.unit else ""
    axes.set(xlabel=f"labels ({_spread(groups)})", ylabel=f"test {for_plot(metric)}{unit}")
    return handles


def _draw_differences(
    axes: "Axes", groups: Groups, metric: str, baseline: str, looks: Looks
) -> None:
    """Differences to the baseline, paired by seed, positive where a strategy is better."""
    scale = scale_of(metric)
    if baseline not in groups:
        axes.set_axis_off()
        return
    axes.axhline(0, **{**looks[baseline], "marker": None})
    for name, runs in groups.items():
        paired = pairs(runs, groups[baseline])
        if name == baseline or not paired:
            continue
        first, second = (values(side, metric) for side in zip(*paired, strict=True))
        differences = scale.sign * scale.factor * (first - second)
        _draw_band(axes, runs[0].num_labeled, differences, looks[name], name)
    sides = (metric, baseline)[:: scale.sign]
    axes.set(
        xlabel="labels", ylabel=for_plot(f"{sides[0]} - {sides[1]}{scale.unit and ', points'}")
    )
    axes.set_title("paired by seed; above 0: better", fontsize=10)


def _draw_band(axes: "Axes", x: Any, runs: np.ndarray, look: Mapping[str, Any], name: str) -> Any:
    """Mean over runs and its 95 % confidence interval. Shape of the runs: (runs, points)."""
    mean, half = mean_and_interval(runs)
    (line,) = axes.plot(x, mean, **look, label=for_plot(name))
    axes.fill_between(x, mean - half, mean + half, color=look["color"], alpha=0.15, linewidth=0)
    return line


def _spread(groups: Groups) -> str:
    counts = sorted({len(runs) for runs in groups.values()})
    if counts == [1]:
        return "1 seed"
    few_to_many = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    return f"mean of {few_to_many} seeds, band: 95 % confidence"


def _series(
    rows: Sequence[Mapping[str, Any]], wanted: Callable[[str], bool]
) -> dict[str, tuple[list, list]]:
    series: dict[str, tuple[list, list]] = {}
    for row in rows:
        for key, value in row.items():
            if wanted(key) and value not in ("", None):
                x, y = series.setdefault(key, ([], []))
                x.append(float(row["epoch"]))
                y.append(float(value))
    return series


def _best_first(groups: Groups, metric: str) -> Groups:
    sign = scale_of(metric).sign
    return dict(
        sorted(groups.items(), key=lambda item: -sign * float(np.mean(values(item[1], metric))))
    )
