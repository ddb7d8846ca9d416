"""Plots and tables of data: they show what they should, for awkward data and names too."""

import io

import numpy as np
import pytest
from rich.console import Console

from dal_toolbox.analysis.dataset import class_counts, class_table, draw_classes, plot_classes
from dal_toolbox.analysis.embedding import MARKERS, PALETTE, draw_embedding, plot_embedding, tsne
from dal_toolbox.analysis.figures import save
from dal_toolbox.analysis.names import for_markdown, for_plot, for_terminal, shown
from dal_toolbox.analysis.plots import (
    COLORS,
    GRAY,
    draw_label_efficiency,
    draw_learning_curves,
    draw_pretraining,
    looks_of,
    plot_learning_curves,
    plot_pretraining,
)
from dal_toolbox.analysis.report import notes, summarize, verdict
from dal_toolbox.analysis.tables import to_csv, to_markdown, to_table
from dal_toolbox.datasets import DATASETS

DIGITS = DATASETS.build("digits", val_size=0.1)
NASTY = [
    "\x1b[31mred\x1b[0m", "[red]x[/]", "[/]", "[link=http://x]y", "$\\frac$", "$x$", "cost $5", "_hidden", "a|b",
    "`code`", "<script>", "new\nline", "tab\t", "\u202etxt.exe", "\u4e2d\u6587", "\udcff\udcfe", "x" * 300, " ", "",
    "{a}", "%s", "#", "![](http://x)", "a\\", "&amp;", "\x07", "\u200f", "*b*", "~~s~~",
]  # fmt: skip


class Named:
    """A dataset whose classes have other names."""

    def __init__(self, classes, name="named"):
        self.classes, self.name, self.num_classes = tuple(classes), name, len(classes)
        targets = np.arange(3 * len(classes)) % len(classes)
        self.train = self.test = type("Part", (), {"targets": targets})()
        self.val = None


def pretraining(names):
    return [{"epoch": i, **dict.fromkeys(names, 0.1 * i)} for i in range(4)]


def efficiency(sources):
    return [
        {"features": source, "images_per_class": n, "accuracy": 0.1 * n + 0.01 * draw}
        for source in sources for n in (1, 5) for draw in range(3)
    ]  # fmt: skip


def figures(curves_of, names, title="title"):
    """Every kind of figure, with these names in it."""
    curves = [curve for name in ("random", *names) for curve in curves_of(name, [0.5, 0.6, 0.8])]
    points = np.random.default_rng(0).random((len(names) * 3, 2))
    yield draw_classes(Named(names, title))
    yield draw_embedding(points, np.arange(len(points)) % len(names), names, title)
    yield draw_pretraining(pretraining([f"{name} loss" for name in names] + [f"{name}accuracy" for name in names]))  # fmt: skip
    yield draw_label_efficiency(efficiency(names))
    yield draw_learning_curves(curves)
    yield draw_learning_curves([c for name in names for c in curves_of(name, [0.1], title)])


def legends(figure):
    return [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]


def test_counts_are_those_of_the_splits(tmp_path):
    counts = class_counts(DIGITS)
    assert {name: count.sum() for name, count in counts.items()} == {
        "train": len(DIGITS.train),
        "val": len(DIGITS.val),
        "test": len(DIGITS.test),
    }
    assert class_table(DIGITS).row_count == 11
    plot_classes(DIGITS, tmp_path / "classes.png")
    assert (tmp_path / "classes.png").stat().st_size > 1000


@pytest.mark.parametrize("n", [4, 10, 90])
def test_tsne_keeps_clusters_apart_and_follows_its_seed(n, tmp_path):
    targets = np.arange(n) % 2
    x = np.random.default_rng(0).normal(size=(n, 60)) + 40 * targets[:, None]
    one, two = (tsne(x, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (n, 2)
    if n == 90:
        distances = np.linalg.norm(one[:, None] - one[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        assert np.mean(targets[distances.argmin(1)] == targets) > 0.95
    plot_embedding(one, targets, ("a", "b"), tmp_path / "map.png", "map")
    assert (tmp_path / "map.png").exists()


@pytest.mark.parametrize("count", [1, 3, 12])
def test_legends_cover_nothing_and_are_whole(curves_of, count):
    names = [f"a name of some length {i}" for i in range(count)]
    for figure in figures(curves_of, names):
        figure.draw_without_rendering()
        for legend in legends(figure):
            box = legend.get_window_extent()
            assert figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1)
            assert figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1)
            for axes in figure.axes:
                shared = box.intersection(box, axes.patch.get_window_extent())
                assert shared is None or shared.width < 1 or shared.height < 1
        assert legends(figure)


def lab(color):
    """CIELAB coordinates of a color #rrggbb (D65)."""
    share = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(np.array(to_xyz) @ linear / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("palette", [PALETTE, (*COLORS[:-1], GRAY)])
def test_any_two_colors_can_be_told_apart(palette):
    points = np.array([lab(color) for color in palette])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert distances[~np.eye(len(points), dtype=bool)].min() > 25


def test_classes_of_a_map_differ_in_color_or_shape():
    figure = draw_embedding(np.zeros((40, 2)), np.arange(40), [str(i) for i in range(40)], "")
    looks = {
        (tuple(points.get_facecolor()[0]), points.get_paths()[0].vertices.tobytes())
        for points in figure.axes[0].collections
    }
    assert len(looks) == 40 == len(PALETTE) * len(MARKERS)
    assert len(figure.legends[0].get_texts()) == 40


def test_strategies_differ_in_color_or_line():
    looks = looks_of([*(f"s{i}" for i in range(60)), *(f"random a={i}" for i in range(9))])
    assert len({tuple(look.values()) for look in looks.values()}) == 69
    assert [name for name, look in looks.items() if look["color"] == GRAY] == [*looks][60:]


@pytest.mark.parametrize("names", [["random"], ["random", "margin"], ["a", "random", "z"]])
def test_random_is_gray_in_every_plot(curves_of, names):
    curves = [curve for name in names for curve in curves_of(name, [0.5, 0.6])]
    for figure in (
        draw_learning_curves(curves),
        draw_learning_curves(curves, baseline=names[-1]),
        draw_label_efficiency(efficiency(names)),
    ):
        for axes in figure.axes:
            lines = [line for line in axes.lines if not line.get_label().startswith("_")]
            assert {line.get_label() for line in lines if line.get_color() == GRAY} <= {"random"}
        first = figure.axes[0].lines
        assert GRAY in {line.get_color() for line in first}


def test_differences_are_a_second_panel(curves_of):
    rng = np.random.default_rng(0)
    for metric, sign in (("accuracy", 100), ("nll", -1)):
        base = rng.random(4)
        curves = [*curves_of("random", base, metric=metric), *curves_of("m", base + 0.25, metric=metric)]  # fmt: skip
        means, differences = draw_learning_curves(curves, metric).axes
        assert len(means.lines) == 2
        (line,) = (line for line in differences.lines if line.get_label() == "m")
        np.testing.assert_allclose(line.get_ydata(), sign * 0.25)
    alone = [*curves_of("a", base), *curves_of("b", base)]
    assert len(draw_learning_curves(alone).axes) == 1


def test_each_setting_has_its_row(curves_of):
    curves = [c for setting in ("x=1", "x=2") for name in ("random", "m") for c in curves_of(name, [0.5, 0.7], setting)]  # fmt: skip
    figure = draw_learning_curves(curves)
    assert [axes.get_title() for axes in figure.axes[::2]] == ["x=1", "x=2"]
    assert len(figure.legends[0].get_texts()) == 2


def test_plots_are_png(curves_of, tmp_path):
    plot_learning_curves(curves_of("random", [0.5]), tmp_path / "plots" / "curves.png")
    plot_pretraining(pretraining(["loss", "val/knn_accuracy"]), tmp_path / "plots" / "ssl.png")
    for name in ("curves", "ssl"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "plots").iterdir())) == 2


def test_no_series_is_dropped():
    names = [f"{i}_accuracy" for i in range(20)]
    assert len(draw_pretraining(pretraining(names)).axes[1].lines) == 20
    assert len(draw_label_efficiency(efficiency(names)).axes[0].lines) == 20


def controls(text):
    return [letter for letter in text if not letter.isprintable() and letter != "\n"]


def test_nasty_names_are_shown_as_they_are_in_every_table(curves_of):
    curves = [c for name in ("random", *NASTY) for c in curves_of(name, [0.5, 0.6], setting=name, notes=(name,))]  # fmt: skip
    curves += [c for name in ("random", *NASTY) for c in curves_of(name, [0.5, 0.6], setting="all")]
    console = Console(width=500, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    summaries = summarize(curves)
    for summary in summaries:
        console.print(to_table(summary, 500), for_terminal(verdict(summary)))
    console.print(class_table(Named(NASTY[:30], NASTY[0])), *map(for_terminal, notes(curves)))
    text = console.file.getvalue()
    plain = text.replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")  # fmt: skip
    assert controls(plain) == []
    for name in NASTY:
        assert shown(name) in plain
    markdown = to_markdown(summaries, {s.setting: "x.png" for s in summaries}, notes(curves))
    assert controls(markdown + to_csv(summaries)) == []
    assert "<script" not in markdown.replace("\\<script", "")
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {7, 5}


def test_nasty_names_are_shown_as_they_are_in_every_plot(curves_of, tmp_path):
    for i, figure in enumerate(figures(curves_of, NASTY, NASTY[4])):
        figure.set_dpi(40)
        save(figure, tmp_path / f"{i}.png")
        for legend in legends(figure):
            assert len(legend.get_texts()) >= (len(NASTY) if i else 2)
        texts = [text.get_text() for legend in legends(figure) for text in legend.get_texts()]
        assert controls("".join(texts)) == []
    assert i == 5


def test_escapes_of_markdown_keep_plain_names_plain():
    for name in (
        "least_confident",
        "dataset=digits, classifier=knn k=5",
        "p < 0.05".replace("<", "="),
    ):
        assert for_markdown(name) == name
    assert for_markdown("_x_") == "\\_x\\_"
    assert for_plot("least_confident") == "least_confident"
