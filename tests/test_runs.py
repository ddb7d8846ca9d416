"""Run folder: what it holds, what it refuses, what it keeps."""

import json
import subprocess
import sys

import pytest
import yaml

from dal_toolbox.errors import UserError
from dal_toolbox.io import append_lines, read_lines, write_text
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
    other = {**CONFIG, "strategy": {"name": "random", "batch": 3}, "random_seed": 1}
    named = r"strategy.name: margin -> random and 2 more.*overwrite=true"
    with pytest.raises(UserError, match=named):
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
    assert read_lines(kept) == [{"labels": [3]}]


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


# One process a folder.

HOLD = """
import sys, time
from pathlib import Path
from dal_toolbox.runs import RunFolder
run = RunFolder(Path(sys.argv[1]), {"a": 1})
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_told_who_holds_the_folder(holder, tmp_path):
    with pytest.raises(UserError, match=rf"in use by process {holder.pid} on .* since 20"):
        RunFolder(tmp_path, {"a": 1})
    holder.kill()
    holder.wait()
    RunFolder(tmp_path, {"a": 1})  # the lock died with its process


def test_a_finished_run_is_not_held(tmp_path):
    RunFolder(tmp_path, CONFIG).finish({})
    code = HOLD.replace('{"a": 1}', repr(CONFIG)).replace("time.sleep(60)", "")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


# Taking up.


def test_what_may_be_longer_extends_a_run(tmp_path):
    config = {**CONFIG, "num_cycles": 2}
    run = RunFolder(tmp_path, config)
    append_lines(run.path / "results.jsonl", [{}])
    run.finish({})
    longer = RunFolder(tmp_path, {**config, "num_cycles": 4}, lengthens=["num_cycles"])
    assert not longer.finished
    longer.stand_on({})
    assert yaml.safe_load((tmp_path / "config_resolved.yaml").read_text())["num_cycles"] == 4
    with pytest.raises(UserError, match=r"num_cycles: 4 -> 2\) \(only num_cycles may grow\)"):
        RunFolder(tmp_path, config, lengthens=["num_cycles"])
    with pytest.raises(UserError, match="random_seed: 0 -> 1"):
        RunFolder(tmp_path, {**config, "num_cycles": 5, "random_seed": 1}, lengthens=["num_cycles"])


def test_what_a_run_stands_on_may_not_be_replaced(tmp_path):
    run = RunFolder(tmp_path, CONFIG)
    assert run.stand_on({"encoder": "a", "pool": "p"}) == {}
    run.stand_on({"encoder": "b", "pool": "p"})  # nothing has been made of it yet
    append_lines(run.path / "results.jsonl", [{}])
    assert run.stand_on({"encoder": "b", "pool": "p"}) == {}
    with pytest.raises(UserError, match="begun with another encoder; put that back"):
        run.stand_on({"encoder": "a", "pool": "p"})
    assert run.stand_on({"encoder": "b", "pool": "q"}, may_change=["pool"]) == {"pool": "p"}


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b"\x00" * 100])
def test_a_damaged_end_is_made_anew(tmp_path, damage, caplog):
    run = RunFolder(tmp_path, CONFIG)
    (tmp_path / "encoder.safetensors").write_bytes(b"weights")
    run.finish({"accuracy": 1.0}, files=["encoder.safetensors"])
    assert RunFolder(tmp_path, CONFIG).finished
    before = (tmp_path / "results.json").read_bytes()
    (tmp_path / "results.json").write_bytes(damage)
    assert not RunFolder(tmp_path, CONFIG).finished
    (tmp_path / "results.json").write_bytes(before)
    (tmp_path / "encoder.safetensors").write_bytes(b"weightz")
    assert not RunFolder(tmp_path, CONFIG).finished
    assert "encoder.safetensors is damaged" in (tmp_path / "main.log").read_text()


@pytest.mark.parametrize("damage", ["", "{", "- 1", "a: [", "\0"])
@pytest.mark.parametrize("name", ["config_resolved.yaml", "stands_on.json"])
def test_a_damaged_record_is_named(tmp_path, damage, name):
    run = RunFolder(tmp_path, CONFIG)
    run.stand_on({"encoder": "a"})
    append_lines(run.path / "results.jsonl", [{}])
    (tmp_path / name).write_text(damage)
    with pytest.raises(UserError, match=f"{name} is damaged"):
        RunFolder(tmp_path, CONFIG).stand_on({"encoder": "a"})


def test_other_versions_and_plugins_are_named(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("a = 1")
    config = {**CONFIG, "plugins": [str(plugin)]}
    run = RunFolder(tmp_path / "run", config)
    append_lines(run.path / "results.jsonl", [{}])
    plugin.write_text("a = 2")
    facts = json.loads((run.path / "environment.json").read_text())
    facts["packages"]["torch"] = "0.1"
    write_text(run.path / "environment.json", json.dumps(facts))
    RunFolder(run.path, config)
    text = (run.path / "main.log").read_text()
    assert "torch 0.1 -> " in text
    assert "plugin.py has changed since this run began" in text


def test_leftovers_of_killed_writers_are_swept(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in (".results.json.1.tmp", "checkpoints/.last.ckpt.2.tmp"):
        (tmp_path / name).write_text("half")
    RunFolder(tmp_path, CONFIG)
    assert not list(tmp_path.rglob("*.tmp"))


def test_comparing_changes_nothing(tmp_path):
    run = RunFolder(tmp_path, CONFIG)
    run.stand_on({"pool": "p"})
    append_lines(run.path / "results.jsonl", [{}])
    assert run.compare({"pool": "q"}, may_change=["pool"]) == {"pool": "p"}
    assert run.stand_on({"pool": "p"}) == {}
