"""The report: right groups, right pairs, and no significance where there is none."""

import csv
import io
from collections import Counter

import numpy as np
import pytest
import torch
from rich.console import Console

from dal_toolbox.active_learning.evaluation import evaluation_on
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis.curves import load_curves
from dal_toolbox.analysis.report import notes, summarize, verdict
from dal_toolbox.analysis.scales import scale_of
from dal_toolbox.analysis.statistics import compare
from dal_toolbox.analysis.tables import to_csv, to_markdown, to_table
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.errors import UserError


def rows_of(summaries):
    return {(summary.setting, row.strategy): row for summary in summaries for row in summary.rows}


def printed(summary, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_table(summary, width))
    return console.file.getvalue()


def by_name_and_seed(runs):
    """The pairing of a report that knows nothing but strategies and seeds."""
    reference = {seed: area for strategy, _, seed, area in runs if strategy == "random"}
    own = [(area, reference[seed]) for strategy, _, seed, area in runs if strategy == "margin"]
    return compare(*np.array(own).T)


def test_runs_of_several_settings_invent_no_difference(tmp_path, write_run):
    """Neither strategy is better; the classifiers differ by ten points."""
    rng, runs = np.random.default_rng(0), []
    for classifier, level in (("linear", 0.6), ("knn", 0.5)):
        for strategy in ("random", "margin"):
            for seed in range(5):
                area = level + 0.004 * rng.standard_normal()
                runs.append((strategy, classifier, seed, area))
                write_run(
                    tmp_path / f"{strategy}-{classifier}-{seed}", strategy, seed, [area] * 3,
                    classifier={"name": classifier},
                )  # fmt: skip
    naive = by_name_and_seed(runs)
    assert naive.p_t < 0.05
    assert naive.difference > 0.04
    summaries = summarize(load_curves(tmp_path))
    assert [summary.setting for summary in summaries] == ["classifier=knn", "classifier=linear"]
    for summary in summaries:
        row = next(row for row in summary.rows if row.strategy == "margin")
        assert (row.seeds, row.pairs) == (5, 5)
        assert row.p > 0.05
        assert abs(row.difference) < 0.01
        assert verdict(summary) == "margin cannot be told from random with 5 seeds"


def test_known_differences_are_found_in_their_setting(tmp_path, write_run):
    rng = np.random.default_rng(1)
    gains = {("digits", "linear"): 0.03, ("digits", "knn"): 0.09, ("folder", "linear"): -0.05}
    for (dataset, classifier), gain in gains.items():
        for seed in range(6):
            base = rng.normal(0.6, 0.1)
            for strategy, height in (("random", base), ("margin", base + gain)):
                write_run(
                    tmp_path / f"{dataset}{classifier}{strategy}{seed}", strategy, seed,
                    list(height + 0.002 * rng.standard_normal(3)),
                    dataset={"name": dataset, "root": dataset}, classifier={"name": classifier, "l2": 1},
                )  # fmt: skip
    rows = rows_of(summarize(load_curves(tmp_path)))
    assert len(rows) == 6
    for (dataset, classifier), gain in gains.items():
        row = rows[f"dataset={dataset}, classifier={classifier}", "margin"]
        assert row.difference == pytest.approx(gain, abs=0.005)
        assert row.low < gain < row.high
        assert row.p < 0.001


def test_variants_of_a_strategy_are_rows_of_one_table(tmp_path, write_run):
    for seed in range(3):
        write_run(tmp_path / f"r{seed}", "random", seed, [0.5] * 3)
        for power in (1, 4):
            node = {"name": "sharp_margin", "power": power, "base": "margin"}
            write_run(tmp_path / f"s{power}{seed}", node, seed, [0.5 + power / 10 + seed / 100] * 3)
    (summary,) = summarize(load_curves(tmp_path))
    assert [(row.strategy, row.seeds, row.pairs) for row in summary.rows] == [
        ("sharp_margin power=4", 3, 3), ("sharp_margin power=1", 3, 3), ("random", 3, None),
    ]  # fmt: skip


@pytest.mark.parametrize("strategies, seeds", [(2, 2), (4, 5)])
def test_false_positive_rate_of_a_whole_report(curves_of, strategies, seeds):
    """Share of reports that tell some strategy from random where none differs."""
    rng, reports = np.random.default_rng(seeds), 150
    false = 0
    for _ in range(reports):
        level = rng.normal(0.6, 0.05, seeds)
        curves = [
            curve
            for i in range(strategies)
            for curve in curves_of(f"s{i}" if i else "random", level + rng.normal(0, 0.01, seeds))
        ]
        (summary,) = summarize(curves)
        false += verdict(summary).startswith(("better", "worse"))
    assert false / reports < 0.05 + 3.3 * np.sqrt(0.05 * 0.95 / reports)
    assert false > 0


def test_less_is_better_where_it_is(curves_of):
    curves = [
        curve
        for name, level in (("random", 1.0), ("good", 0.8), ("bad", 1.3))
        for curve in curves_of(name, level + 0.01 * np.array([0, 1, 2, 3, 5, 8]) * (name != "random"), metric="nll")
    ]  # fmt: skip
    (summary,) = summarize(curves, "nll")
    assert [row.strategy for row in summary.rows] == ["good", "random", "bad"]
    assert summary.rows[0].difference > 0 > summary.rows[2].difference
    assert verdict(summary).startswith("better than random: good; worse than random: bad (p < 0.05")
    assert "random - area [95 %]" in printed(summary)
    assert "%" not in printed(summary).replace("[95 %]", "")


def test_every_metric_of_a_run_is_known():
    targets = torch.arange(8) % 2
    features = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    classifier = CLASSIFIERS.build("knn", num_classes=2).fit(features, targets)
    signs = {name: scale_of(name).sign for name in evaluation_on(features, targets)(classifier)}
    assert signs == {"accuracy": 1, "macro_accuracy": 1, "nll": -1, "brier": -1, "ece": -1}
    assert {name: scale_of(name).factor for name in signs} == {
        "accuracy": 100, "macro_accuracy": 100, "nll": 1, "brier": 1, "ece": 1,
    }  # fmt: skip


def test_one_pair_prints_no_interval_and_no_spread(curves_of):
    (summary,) = summarize([*curves_of("random", [0.5]), *curves_of("margin", [0.6])])
    row = summary.rows[0]
    assert row.difference == pytest.approx(0.1)
    assert (row.low, row.high, row.p, row.area_std, row.final_std) == (None,) * 5
    assert "+10.0 \n" in printed(summary)
    assert "±" not in printed(summary)
    assert "nan" not in to_csv([summary]) + printed(summary)
    assert "too few" in verdict(summary)


def test_pairs_are_counted_where_seeds_are_missing(curves_of):
    curves = [*curves_of("random", [0.5, 0.52, 0.55, 0.6]), *curves_of("margin", [0.6, 0.7, 0.7])]
    alone = [curve for curve in curves_of("lonely", [0.1] * 9) if curve.seed > 5]
    (summary,) = summarize([*curves, *alone])
    rows = {row.strategy: row for row in summary.rows}
    assert (rows["margin"].seeds, rows["margin"].pairs, rows["lonely"].pairs) == (3, 3, 0)
    assert "3, 0 paired" in printed(summary)
    alone_p = rows_of(summarize(curves))["", "margin"].p
    assert rows["margin"].p == alone_p  # what has no pair is no test that Holm corrects for


@pytest.mark.parametrize(
    "areas, says",
    [
        ({"random": 5, "a": 5, "b": 5}, "no strategy can be told from random with 5 seeds"),
        ({"random": 5, "a": 5}, "a cannot be told from random with 5 seeds"),
        ({"a": 5, "b": 5}, "no run of random: nothing to compare with"),
        ({"random": 5}, "no other strategy than random: nothing to compare"),
        ({"random": 1, "a": 1}, "one seed or none in common with random: too few to tell strategies apart"),
        ({"random": 5, "a": 5, "b": 3}, "no strategy can be told from random with 3 to 5 seeds"),
    ],
)  # fmt: skip
def test_verdicts(curves_of, areas, says):
    rng = np.random.default_rng(3)
    curves = [c for name, n in areas.items() for c in curves_of(name, 0.5 + 0.1 * rng.random(n))]
    (summary,) = summarize(curves)
    assert verdict(summary) == says


def test_equal_differences_of_few_seeds_are_not_certain(curves_of):
    (summary,) = summarize([*curves_of("random", [0.5, 0.6]), *curves_of("margin", [0.51, 0.61])])
    assert verdict(summary) == "margin cannot be told from random with 2 seeds"


def test_few_seeds_are_said(curves_of):
    noise = np.array([0.0, 0.001, 0.002, 0.0, 0.001, 0.002])
    for n, said in ((5, True), (6, False)):
        (summary,) = summarize([*curves_of("random", [0.5] * n), *curves_of("m", 0.6 + noise[:n])])
        assert verdict(summary).startswith(f"better than random: m (p < 0.05, {n} seeds)")
        assert ("fewer than 6 seeds" in verdict(summary)) == said


def test_baseline_is_a_row(curves_of):
    curves = [c for name in ("random", "sharp power=1", "sharp power=4") for c in curves_of(name, [0.5, 0.6])]  # fmt: skip
    with pytest.raises(UserError, match="baseline=rnd: no run of it; choose one of random, 'base"):
        summarize(curves, baseline="rnd")
    with pytest.raises(UserError, match="baseline=sharp: several variants; choose one of 'baseline="):  # fmt: skip
        summarize(curves, baseline="sharp")
    (summary,) = summarize(curves, baseline="sharp power=4")
    assert {row.strategy: row.pairs for row in summary.rows} == {
        "random": 2, "sharp power=1": 2, "sharp power=4": None,
    }  # fmt: skip


def test_notes_are_counted(curves_of):
    curves = [*curves_of("a", [0.1, 0.2], notes=("x", "y")), *curves_of("b", [0.1], notes=("y",))]
    assert notes(curves) == ["y (3 of 3 runs)", "x (2 of 3 runs)"]
    assert "- y (3 of 3 runs)\n- x" in to_markdown(summarize(curves, baseline="a"), {"": "a.png"}, notes(curves))  # fmt: skip


@pytest.mark.parametrize("metric", ["accuracy", "nll"])
def test_one_line_a_strategy_at_80_columns(curves_of, metric):
    rng = np.random.default_rng(0)
    names = [*STRATEGIES, "stochastic base=entropy beta=2.5"]
    for name in names:
        pair = [*curves_of("random", rng.random(5), metric=metric), *curves_of(name, 0.9 - rng.random(5), metric=metric)]  # fmt: skip
        (summary,) = summarize(pair, metric) if name != "random" else summarize(pair[:5], metric)
        text = printed(summary)
        assert len([line for line in text.splitlines() if name in line]) == 1, text
        assert len(text.splitlines()) == 4 + len(summary.rows) + 1, text
        assert max(map(len, text.splitlines())) <= 80
    assert len(names) > 30


def test_csv_and_markdown_have_sensible_digits(curves_of):
    curves = [*curves_of("random", [1 / 3, 1 / 7, 0.3], "a=1"), *curves_of("m", [2 / 3, 0.5, 0.6], "a=1"),
              *curves_of("random", [1 / 3], "a=2")]  # fmt: skip
    summaries = summarize(curves)
    table = list(csv.DictReader(io.StringIO(to_csv(summaries))))
    assert Counter(row["setting"] for row in table) == {"a=1": 2, "a=2": 1}
    assert table[0]["final_mean"] == "0.588889"
    assert table[2]["final_std"] == table[2]["p"] == table[1]["difference"] == ""
    assert max(len(cell) for row in table for cell in row.values()) <= 11
    text = to_markdown(summaries, {"a=1": "one.png", "a=2": "two.png"}, [])
    assert "| m | 3 | 58.89 ± 8.39 | 58.89 ± 8.39 | +33.02 [" in text
    assert "## a=1" in text
    assert "(two.png)" in text
