"""Run folders: which are read, and that a damaged one is named and stops nothing."""

import json
import logging

import numpy as np
import pytest

from dal_toolbox.analysis.curves import load_curves
from dal_toolbox.analysis.grouping import by_strategy, pairs, with_metric
from dal_toolbox.errors import UserError


class Messages(logging.Handler):
    """Keeps what is logged."""

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.fixture
def warnings():
    """Messages of all warnings so far."""
    handler = Messages(logging.WARNING)
    handler.texts = []
    logging.getLogger("dal_toolbox").addHandler(handler)
    yield lambda: handler.texts
    logging.getLogger("dal_toolbox").removeHandler(handler)


@pytest.fixture
def runs(tmp_path, write_run):
    for seed in range(3):
        write_run(tmp_path / f"random{seed}", "random", seed, [0.1, 0.2, 0.3])
        write_run(tmp_path / f"margin{seed}", "margin", seed, [0.2, 0.3, 0.4])
    return tmp_path


def test_reads_every_finished_run(runs, write_run, warnings):
    write_run(runs / "killed", "margin", 9, [0.1, 0.2, 0.3])
    (runs / "killed" / "results.json").unlink()
    write_run(runs / "margin0" / "previous" / "x", "margin", 8, [0.1, 0.2, 0.3])
    curves = load_curves(runs)
    assert [(curve.strategy, curve.seed) for curve in curves] == [
        (name, seed) for name in ("margin", "random") for seed in range(3)
    ]
    assert curves[0].metrics["accuracy"].tolist() == [0.2, 0.3, 0.4]
    assert {curve.setting for curve in curves} == {""}
    assert warnings() == [f"left out, not finished: {runs / 'killed'}"]


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="no finished active-learning run below"):
        load_curves(tmp_path)
    with pytest.raises(UserError, match="no folder .*mistyped"):
        load_curves(tmp_path / "mistyped")
    assert list(tmp_path.iterdir()) == []


def line(**changes):
    return json.dumps({"cycle": 0, "num_labeled": 10, "metrics": {"accuracy": 0.5}, **changes})


DAMAGES = {
    "config_resolved.yaml": [
        "", "{", "- a", "7", "strategy: margin\nrandom_seed: 1", "strategy: {name: 3}\nrandom_seed: 1",
        "strategy: {name: margin}", "strategy: {name: margin}\nrandom_seed: x", "a: !!python/object:os.x 1",
        "strategy: {name: margin}\nrandom_seed: true", "\t\x00", "[" * 5000, "when: 2020-99-99",
        b"\xff\xfe\x00", None,
    ],
    "results.jsonl": [
        "", "\n", "{\n", "[]\n", "null\n", line(metrics={}) + "\n", line(metrics=None) + "\n",
        line(metrics=[1]) + "\n", line(metrics={"accuracy": "high"}) + "\n",
        line(metrics={"accuracy": True}) + "\n", line(metrics={"accuracy": 10**400}) + "\n",
        line(num_labeled="ten") + "\n", line(num_labeled=None) + "\n", line(num_labeled=10**30) + "\n",
        f"{line()}\n{line()}\n", f"{line()}\n{line(num_labeled=5)}\n", f"{line()}\n", "[" * 5000 + "\n",
        f"{line()}\n{{\"metr", b"\xff\n",
    ],
    "stands_on.json": ["", "{", "[]", "null", b"\xff"],
    "results.json": ["", "{", "[]", "7", "null", b"\xff", '{"num_labeled": 40}', "[" * 5000],
}  # fmt: skip


@pytest.mark.parametrize(
    "file, content", [(file, content) for file in DAMAGES for content in DAMAGES[file]]
)
def test_a_damaged_run_is_named_and_left_out(runs, write_run, warnings, file, content):
    broken = write_run(runs / "broken", "margin", 7, [0.1, 0.2, 0.3])
    (broken / file).unlink(missing_ok=True)
    if content is not None:
        (broken / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert len(load_curves(runs)) == 6
    named = [text for text in warnings() if text.startswith(f"left out, damaged: {broken} (")]
    assert len(named) == 1
    assert file.partition(".")[0] in named[0].partition("(")[2]
    assert "\n" not in named[0]
    assert len(named[0]) < 500


@pytest.mark.parametrize("file", DAMAGES)
def test_a_folder_in_place_of_a_file_is_damage(runs, write_run, warnings, file):
    broken = write_run(runs / "broken", "margin", 7, [0.1, 0.2, 0.3])
    (broken / file).unlink(missing_ok=True)
    (broken / file).mkdir()
    assert len(load_curves(runs)) == 6
    assert warnings()[0].startswith(f"left out, damaged: {broken} ({file}")


def test_a_run_without_test_labels_is_not_called_damaged(runs, write_run, warnings):
    folder = write_run(runs / "unmeasured", "margin", 7, [0.1, 0.2, 0.3])
    (folder / "results.jsonl").write_text(line(metrics={}) + "\n")
    (folder / "results.json").write_text('{"num_labeled": 10, "metrics": {}}')
    assert len(load_curves(runs)) == 6
    assert warnings() == [f"left out, without a labeled test item: {folder}"]


def test_cycles_without_metrics_are_no_points(runs, write_run):
    folder = write_run(runs / "partly", "a", 7, [0.1, 0.2, 0.3, 0.4], (10, 20, 20, 30))
    rows = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]
    rows.insert(0, {"cycle": 0, "num_labeled": 0, "metrics": {}})
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = load_curves(runs)[0]
    assert curve.num_labeled.tolist() == [10, 20, 30]
    assert curve.metrics["accuracy"].tolist() == [0.1, 0.3, 0.4]


def test_null_counts_only_against_its_metric(runs, write_run, warnings):
    folder = write_run(runs / "infinite", "margin", 7, [0.1, 0.2, 0.3])
    rows = [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]
    rows[1]["metrics"]["nll"] = None
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curves = load_curves(runs)
    assert len(with_metric(curves, "accuracy")) == 7
    assert len(with_metric(curves, "nll")) == 6
    assert warnings() == [f"left out, without finite nll: {folder}"]
    with pytest.raises(UserError, match="metric=f1: these runs have accuracy, nll"):
        with_metric(curves, "f1")


def test_a_run_that_was_done_twice_counts_once(runs, write_run, warnings):
    write_run(runs / "z", "margin", 1, [0.9, 0.9, 0.9], n_cpus=3)  # a place is no setting
    assert len(load_curves(runs)) == 6
    assert warnings() == [
        f"left out, the same configuration and seed as {runs / 'margin1'}: {runs / 'z'}"
    ]


def test_an_extended_run_is_compared_as_far_as_the_others_go(runs, write_run, warnings):
    longer = write_run(
        runs / "longer", "margin", 7, [0.1, 0.2, 0.3, 0.4], (10, 20, 30, 40), num_cycles=3
    )
    curves = load_curves(runs)
    assert len(curves) == 7
    assert {tuple(curve.num_labeled) for curve in curves} == {(10, 20, 30)}
    assert {curve.setting for curve in curves} == {""}
    assert warnings() == [f"compared up to 30 labels, where other runs end: {longer}"]


def test_the_extended_copy_of_a_run_is_the_one_that_counts(runs, write_run):
    write_run(runs / "a", "margin", 1, [0.9] * 4, (10, 20, 30, 40), num_cycles=3)
    assert load_curves(runs)[1].metrics["accuracy"].tolist() == [0.9] * 3


def test_runs_on_other_data_are_no_pair(runs, warnings):
    for folder in runs.iterdir():
        facts = {"training data": f"split of seed {folder.name[-1]}", "test data": "x"}
        if folder.name == "random1":
            facts["training data"] = "replaced meanwhile"
        if folder.name != "margin2":  # an older run, which has no such file
            (folder / "stands_on.json").write_text(json.dumps(facts))
    curves = by_strategy(load_curves(runs))
    assert [one.seed for one, _ in pairs(curves["margin"], curves["random"])] == [0, 2]
    assert warnings() == [
        "not compared, made from other training data under one configuration and seed: "
        f"{runs / 'margin1'} and {runs / 'random1'}"
    ]


@pytest.mark.parametrize("labels", [(10, 20), (10, 15, 20), (5, 10, 15, 20)])
def test_the_odd_run_out_is_named(runs, write_run, warnings, labels):
    odd = write_run(runs / "odd", "margin", 7, [0.1] * len(labels), labels)
    assert len(load_curves(runs)) == 6
    assert warnings() == [f"left out, other numbers of labels than most runs: {odd}"]


def test_half_of_the_runs_extended(tmp_path, write_run):
    for seed in range(2):
        write_run(tmp_path / f"random{seed}", "random", seed, [0.1, 0.2], (10, 20))
        write_run(tmp_path / f"margin{seed}", "margin", seed, [0.1, 0.2, 0.3])
    assert [curve.num_labeled.tolist() for curve in load_curves(tmp_path)] == [[10, 20]] * 4


def test_notes_are_kept(tmp_path, write_run):
    for i, kept in enumerate([["a", "b\x1b", "a"], None, "text", {"a": 1}]):
        write_run(tmp_path / str(i), "random", i, [0.5] * 3, results={"notes": kept})
    notes = [curve.notes for curve in load_curves(tmp_path)]
    assert notes == [("a", "b\x1b"), (), (), ()]
    assert np.isfinite(load_curves(tmp_path)[0].metrics["accuracy"]).all()
