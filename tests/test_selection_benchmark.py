"""The selection benchmarks run at a tiny size."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the main of a benchmark with these options; returns what it printed."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    yield run
    torch.set_num_threads(threads)


def sizes(tmp_path, *options):
    size = {"n": 300, "dim": 8, "classes": 3, "batch": 4, "labeled": 12, "threads": 1, "repeats": 1}
    tiny = [word for name, value in size.items() for word in (f"--{name}", value)]
    return [*tiny, "--output", tmp_path / "selection.json", "--work", tmp_path, *options]


def results(tmp_path, part):
    return json.loads((tmp_path / "selection.json").read_text())["results"][part]


def test_peers(run, tmp_path):
    pytest.importorskip("skactiveml")
    run("selection", "peers", *sizes(tmp_path, "--strategies", "margin,coreset"))
    rows = results(tmp_path, "peers")["rows"]
    assert [row["strategy"] for row in rows] == ["margin", "coreset"]
    for row in rows:  # both are deterministic
        assert row["shared"] == 1
        assert row["ours"]["objective"] == row["peer"]["objective"]
        assert row["ratio"] > 0


def test_scale_reports_limits_and_keeps_other_parts(run, tmp_path):
    (tmp_path / "selection.json").write_text('{"results": {"table": 7}}')
    run("selection", "scale", *sizes(tmp_path, "--strategies", "random"))
    options = sizes(tmp_path, "--strategies", "refine", "--limit", "0.05")
    text = run("selection", "scale", *options)
    assert results(tmp_path, "table") == 7
    random, refine, faster = results(tmp_path, "scale")["rows"]
    assert faster["strategy"] == "refine num_batches=21"
    assert random["seconds"] > 0
    assert refine["seconds"] is None
    assert refine["failure"] == "> 0.05 s"
    assert "> 0.05 s" in text


def test_limits_compare_the_whole_pool_with_a_part(run, tmp_path):
    run("selection", "limits", *sizes(tmp_path, "--strategies", "maxherding,margin"))
    (row,) = results(tmp_path, "limits")["rows"]  # margin has none
    assert (row["strategy"], row["value"], row["part"]) == ("maxherding", 50_000, 12)
    assert row["whole"]["objective"] >= row["limited"]["objective"] > 0


@pytest.mark.slow
def test_growth_and_table(run, tmp_path):
    options = ["--strategies", "random,margin", "--sizes", "100", "200", "--batches", "2", "4"]
    run("selection", "growth", *sizes(tmp_path, *options))
    assert (tmp_path / "selection_growth.png").exists()
    assert set(results(tmp_path, "growth")["exponents"]) == {"random", "margin"}
    run("selection", "table", *sizes(tmp_path, "--strategies", "margin"))
    assert results(tmp_path, "table")["rows"][0]["seconds"] > 0


def test_lowbudget_goes_on_where_it_was(run, tmp_path):
    options = ["--seeds", 2, "--strategies", "random,coreset", "--work", tmp_path / "work",
               "--output", tmp_path / "lowbudget.json"]  # fmt: skip
    text = run("lowbudget", *options, "--cycles", 1)
    assert "20 labels:" in text
    file = tmp_path / "work" / "coreset" / "1.jsonl"
    before = file.read_text()
    run("lowbudget", *options, "--cycles", 4)
    assert file.read_text().startswith(before)
    document = json.loads((tmp_path / "lowbudget.json").read_text())["results"]
    assert {row["strategy"] for row in document["rows"]} == {"random", "coreset"}
    assert [leader["labels"] for leader in document["leaders"]] == [20, 50]
    assert (tmp_path / "lowbudget.png").exists()
