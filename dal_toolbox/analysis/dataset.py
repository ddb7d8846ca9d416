"""What a dataset holds: images of each class in each split, as table and plot."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from dal_toolbox.analysis.figures import legend_beside, new_axes, save
from dal_toolbox.analysis.names import for_plot, for_terminal
from dal_toolbox.analysis.plots import COLORS
from dal_toolbox.datasets import DatasetBundle, Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 30  # classes in a table
LONGEST = 24  # characters of a class below its bars


def class_counts(bundle: DatasetBundle) -> dict[str, np.ndarray]:
    """Labeled images of each class in each split that has some. Shape of each: (C,)."""
    splits = {"train": bundle.train, "val": bundle.val, "test": bundle.test}
    counts = {name: _counts(part, bundle.num_classes) for name, part in splits.items() if part}
    return {name: count for name, count in counts.items() if count.sum()}


def class_table(bundle: DatasetBundle) -> Table:
    """A row for each class, the largest first in datasets of many classes; shares of the split."""
    counts = class_counts(bundle)
    table = Table(title=for_terminal(f"{bundle.name}: images per class"))
    table.add_column("class")
    for name in counts:
        table.add_column(name, justify="right")
    rows = np.arange(bundle.num_classes)
    if bundle.num_classes > SHOWN:
        rows = np.argsort(-next(iter(counts.values())), kind="stable")[:SHOWN]
    for row in rows:
        cells = (f"{count[row]} ({count[row] / count.sum():.1%})" for count in counts.values())
        table.add_row(for_terminal(bundle.classes[row]), *cells)
    if len(rows) < bundle.num_classes:
        table.add_row(f"… {bundle.num_classes - len(rows)} more")
    table.add_section()
    table.add_row("all", *(str(count.sum()) for count in counts.values()))
    return table


def plot_classes(bundle: DatasetBundle, path: Path) -> None:
    """Draws the share of each class in each split; an imbalance is seen at once.

    Args:
        bundle: The dataset.
        path: PNG file to write.
    """
    save(draw_classes(bundle), path)


def draw_classes(bundle: DatasetBundle) -> "Figure":
    """The figure of :func:`plot_classes`."""
    counts = class_counts(bundle)
    figure, axes = new_axes(width=max(6.4, min(16.0, 0.35 * bundle.num_classes)))
    x, width = np.arange(bundle.num_classes), 0.8 / max(len(counts), 1)
    bars = [
        (
            f"{name} (n = {count.sum()})",
            axes.bar(x + (i + 0.5) * width - 0.4, count / count.sum(), width, color=COLORS[i]),
        )
        for i, (name, count) in enumerate(counts.items())
    ]
    if bundle.num_classes <= 50:
        names = [for_plot(name, LONGEST) for name in bundle.classes]
        axes.set_xticks(x, names, rotation=45 if bundle.num_classes > 5 else 0, ha="right")
    axes.set(ylabel="share of the split", title=for_plot(f"{bundle.name}: classes", 70))
    legend_beside(figure, bars)
    return figure


def _counts(images: Images, num_classes: int) -> np.ndarray:
    return np.bincount(images.targets[images.targets >= 0], minlength=num_classes)
