"""Curves, statistics, plots and report of constructed runs."""

import json

import numpy as np
import pytest
import yaml
from scipy import stats

from dal_toolbox.analysis.curves import by_strategy, load_curves
from dal_toolbox.analysis.plots import plot_learning_curves, plot_pretraining
from dal_toolbox.analysis.report import summarize, to_csv, to_table
from dal_toolbox.analysis.statistics import compare, holm, mean_and_interval
from dal_toolbox.errors import UserError


def write_run(folder, strategy, seed, accuracies, labels=(10, 20, 30), finished=True):
    folder.mkdir(parents=True)
    config = {"strategy": {"name": strategy}, "random_seed": seed}
    (folder / "config_resolved.yaml").write_text(yaml.safe_dump(config))
    rows = [
        {"cycle": i, "num_labeled": n, "metrics": {"accuracy": a}}
        for i, (n, a) in enumerate(zip(labels, accuracies, strict=True))
    ]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if finished:
        (folder / "results.json").write_text("{}")


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(6):
        base = np.array([0.5, 0.6, 0.7]) + 0.01 * rng.standard_normal(3)
        write_run(tmp_path / f"random{seed}", "random", seed, base)
        write_run(tmp_path / f"margin{seed}", "margin", seed, base + 0.05 + 0.001 * seed)
    return tmp_path


def test_loads_finished_runs_only(runs):
    write_run(runs / "broken", "margin", 9, [0.1, 0.2, 0.3], finished=False)
    curves = load_curves(runs)
    assert len(curves) == 12
    assert {curve.strategy for curve in curves} == {"margin", "random"}


def test_no_run_says_what_makes_one(tmp_path):
    with pytest.raises(UserError, match="no finished active-learning run below"):
        load_curves(tmp_path)


def test_runs_of_other_budgets_are_not_averaged(runs):
    write_run(runs / "other", "entropy", 0, [0.1, 0.2], labels=(5, 10))
    with pytest.raises(UserError, match="equal budgets"):
        by_strategy(load_curves(runs))


def test_summary_ranks_and_pairs_by_seed(runs):
    rows = summarize(load_curves(runs))
    assert [row["strategy"] for row in rows] == ["margin", "random"]
    assert rows[0]["difference"] == pytest.approx(0.0525, abs=1e-9)
    assert rows[0]["p"] < 0.001
    assert "p" not in rows[1]
    assert to_csv(rows).startswith("strategy,seeds,num_labels")
    assert to_table(rows, "accuracy", "random").row_count == 2


def test_compare_agrees_with_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.random(12), rng.random(12)
    result = compare(a, b)
    assert result.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert result.interval == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()))
    assert result.p_wilcoxon == pytest.approx(stats.wilcoxon(a - b).pvalue)
    assert result.wins == int((a > b).sum())


def test_compare_equal_and_constant():
    x = np.arange(5.0)
    assert compare(x, x).p_t == 1.0
    assert compare(x + 1, x).p_t == 0.0


def test_compare_refuses_what_cannot_be_paired():
    with pytest.raises(ValueError, match="cannot pair"):
        compare(np.zeros(3), np.zeros(4))


def test_holm_agrees_with_the_definition():
    p = np.random.default_rng(2).random(7)
    order = np.argsort(p)
    expected, running = np.empty(7), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (7 - rank) * p[i]))
        expected[i] = running
    assert np.allclose(holm(p), expected)


def test_interval_of_one_seed_is_empty():
    mean, half = mean_and_interval(np.ones((1, 3)))
    assert mean.tolist() == [1, 1, 1]
    assert half.tolist() == [0, 0, 0]


def test_plots_are_png(runs, tmp_path):
    plot_learning_curves(load_curves(runs), tmp_path / "plots" / "curves.png")
    rows = [
        {"epoch": i, "loss": 1 / (i + 1), "val/knn_accuracy": "" if i % 2 else 0.5}
        for i in range(6)
    ]
    plot_pretraining(rows, tmp_path / "plots" / "ssl.png")
    for name in ("curves", "ssl"):
        assert (tmp_path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
