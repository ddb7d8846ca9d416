"""Run folder: what it holds, what it refuses, what it keeps."""

import json

import pytest
import yaml

from dal_toolbox.errors import UserError
from dal_toolbox.io import append_lines, write_text
from dal_toolbox.runs import RunFolder

CONFIG = {"strategy": {"name": "margin"}, "random_seed": 0, "output_dir": "a", "sizes": [1, 2]}


def test_explains_itself(tmp_path):
    run = RunFolder(tmp_path / "run", CONFIG)
    assert yaml.safe_load((run.path / "config_resolved.yaml").read_text()) == CONFIG
    assert "margin" in (run.path / "config_tree.txt").read_text()
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["command"]
    assert (run.path / "main.log").exists()


def test_is_finished_when_results_exist(tmp_path):
    run = RunFolder(tmp_path, CONFIG)
    assert not run.finished
    run.finish({"accuracy": 0.5})
    again = RunFolder(tmp_path, CONFIG)
    assert again.finished
    assert again.results == {"accuracy": 0.5}


def test_other_config_is_refused_with_the_key(tmp_path):
    append_lines(RunFolder(tmp_path, CONFIG).path / "results.jsonl", [{}])
    other = {**CONFIG, "strategy": {"name": "random"}}
    with pytest.raises(UserError, match=r"strategy.name: margin -> random.*overwrite=true"):
        RunFolder(tmp_path, other)


def test_a_run_that_made_nothing_may_be_corrected(tmp_path):
    RunFolder(tmp_path, CONFIG)  # and then it failed, of a mistake in the config
    run = RunFolder(tmp_path, {**CONFIG, "random_seed": 1})
    assert yaml.safe_load((run.path / "config_resolved.yaml").read_text())["random_seed"] == 1


def test_places_may_change(tmp_path):
    append_lines(RunFolder(tmp_path, CONFIG).path / "results.jsonl", [{}])
    RunFolder(tmp_path, {**CONFIG, "output_dir": "b", "n_cpus": 3})


def test_overwrite_moves_the_earlier_run_aside(tmp_path):
    append_lines(RunFolder(tmp_path, CONFIG).path / "results.jsonl", [{"labels": [3]}])
    run = RunFolder(tmp_path, {**CONFIG, "random_seed": 1}, overwrite=True)
    assert not (run.path / "results.jsonl").exists()
    (kept,) = (tmp_path / "previous").glob("*/results.jsonl")
    assert kept.read_text() == '{"labels": [3]}\n'


def test_metrics_may_appear_late(tmp_path):
    run = RunFolder(tmp_path, CONFIG)
    run.write_metrics([{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5, "knn": 0.9}])
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,loss,knn", "0,1.0,", "1,0.5,0.9",
    ]  # fmt: skip


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "x", "old")
    with pytest.raises(TypeError):
        write_text(tmp_path / "x", None)
    assert (tmp_path / "x").read_text() == "old"
