"""Figures of matplotlib: plain panels, legends that cover nothing, files that are whole or not there."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dal_toolbox.io import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.transforms import Bbox

LEGEND_ROWS = 20  # entries of a legend below each other
MARGIN = 0.2  # inches around a legend


def new_axes(panels: int = 1, width: float = 6.4, rows: int = 1) -> tuple["Figure", Any]:
    """A figure with one or more plain panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.2 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, panels)
    for panel in np.atleast_1d(axes).flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return figure, axes


def legend_beside(
    figure: "Figure", entries: Sequence[tuple[str, Any]], markerscale: float = 1
) -> None:
    """A legend to the right of all panels; the figure grows by its size.

    Args:
        figure: Where to draw it.
        entries: Labels, and what stands for them in the panels.
        markerscale: Size of markers, relative to the panels.
    """
    if not entries:
        return
    labels, handles = zip(*entries, strict=True)
    legend = figure.legend(
        handles, labels, frameon=False, loc="outside right upper", fontsize=8,
        markerscale=markerscale, ncols=1 + (len(entries) - 1) // LEGEND_ROWS,
    )  # fmt: skip
    size, box = figure.get_size_inches(), _box(legend)
    figure.set_size_inches(
        size[0] + box.width / figure.dpi, max(size[1], box.height / figure.dpi + MARGIN)
    )


def legends_above(figure: "Figure") -> None:
    """A legend above each panel, where it covers no data; the figure grows by their height."""
    height = 0.0
    for panel in figure.axes:
        handles, labels = panel.get_legend_handles_labels()
        if not labels:
            continue
        for ncols in (2, 1):
            legend = panel.legend(
                handles, labels, ncols=ncols, frameon=False, fontsize=8, loc="lower left",
                bbox_to_anchor=(0, 1), borderaxespad=0,
            )  # fmt: skip
            if _box(legend).width < panel.get_window_extent().width:
                break
        height = max(height, _box(legend).height)
    size = figure.get_size_inches()
    figure.set_size_inches(size[0], size[1] + height / figure.dpi)


def save(figure: "Figure", path: Path) -> None:
    """Writes a PNG file."""
    with atomic_file(path) as temporary, _boxes_for_missing_letters():
        figure.savefig(temporary, format="png")


def _box(legend: "Legend") -> "Bbox":
    with _boxes_for_missing_letters():
        return legend.get_window_extent()


@contextmanager
def _boxes_for_missing_letters() -> Iterator[None]:
    """No warning for each letter that the font lacks (Chinese, say); it becomes a box."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
