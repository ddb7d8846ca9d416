"""``experiments/report/main.py``: what it writes, prints and refuses."""

import csv
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dal_toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "experiments" / "report" / "main.py"
NOISE = (0.0, 0.01, -0.02, 0.03, 0.01)


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(SCRIPT))["main"]


@pytest.fixture
def report(main, tmp_path, capsys, monkeypatch):
    """Runs the report on ``tmp_path``; returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(**changes):
        config = {"runs": str(tmp_path), "metric": "accuracy", "baseline": "random", "plugins": []}
        config = {**config, "output_dir": str(tmp_path), **changes}
        main(config, tmp_path)
        return capsys.readouterr().err

    return run


@pytest.fixture
def runs(tmp_path, write_run):
    """Two classifiers, two strategies, five seeds."""
    for seed, noise in enumerate(NOISE):
        for classifier, gain in (("linear", 0.03), ("knn", 0.1)):
            for i, strategy in enumerate(("random", "margin")):
                heights = [0.5 + gain * i + noise * (1 + i)] * 3
                write_run(
                    tmp_path / f"{strategy}-{classifier}-{seed}", strategy, seed, heights,
                    classifier={"name": classifier}, results={"notes": ["a *note*\x1b[31m"]},
                )  # fmt: skip
    return tmp_path


def table(folder, name="summary.csv"):
    return list(csv.DictReader((folder / name).read_text().splitlines()))


def test_a_mixed_sweep_gives_a_table_for_each_setting(report, runs):
    text = report()
    rows = table(runs)
    assert [(row["setting"], row["strategy"], row["seeds"]) for row in rows] == [
        (f"classifier={classifier}", strategy, "5")
        for classifier in ("knn", "linear") for strategy in ("margin", "random")
    ]  # fmt: skip
    assert [float(row["difference"]) for row in rows if row["difference"]] == pytest.approx(
        [0.106, 0.036], abs=1e-3
    )
    assert "in %, 5 seeds: classifier=knn" in text
    assert re.search(r"margin +61\.2 ± \S+ +61\.2 ± \S+ +\+10\.6 \[", text)
    assert text.count("random") >= 4
    assert {path.name for path in runs.glob("*.*") if path.is_file()} == {
        "summary.csv", "summary.md", "learning_curves_classifier-knn.png",
        "learning_curves_classifier-linear.png",
    }  # fmt: skip
    markdown = (runs / "summary.md").read_text()
    for picture in ("learning_curves_classifier-knn.png", "learning_curves_classifier-linear.png"):
        assert f"({picture})" in markdown


def test_notes_of_the_runs_are_printed_and_escaped(report, runs):
    assert "note: a *note*\\x1b[31m (20 of 20 runs)" in report()
    assert "- a \\*note\\*\\\\x1b\\[31m (20 of 20 runs)" in (runs / "summary.md").read_text()


def test_a_second_metric_writes_second_files(report, runs):
    report()
    first = {path.name: path.read_bytes() for path in runs.iterdir() if path.is_file()}
    assert "less is better" in (report(metric="nll"), (runs / "summary_nll.md").read_text())[1]
    assert {name: (runs / name).read_bytes() for name in first} == first
    assert {path.name for path in runs.iterdir() if path.is_file()} - set(first) == {
        "summary_nll.csv", "summary_nll.md", "learning_curves_nll_classifier-knn.png",
        "learning_curves_nll_classifier-linear.png",
    }  # fmt: skip
    assert table(runs, "summary_nll.csv")[0]["strategy"] == "margin"


BAD = [0, -1, 10**30, float("nan"), True, None, [], ["a"], {}, {"a": 1}, "", "/dev/null/x", "\x1b[31m/\0",
       "/proc/\x1b", "x" * 300]  # fmt: skip


@pytest.mark.parametrize("key", ["runs", "output_dir", "metric", "baseline"])
def test_every_value_of_every_key_ends_in_files_or_in_one_line(report, runs, key):
    assert set(yaml.safe_load((ROOT / "configs" / "report.yaml").read_text())) - {
        "defaults", "hydra", "plugins",
    } == {"runs", "output_dir", "metric", "baseline"}  # fmt: skip
    file, below = runs / "file", runs / "a b"
    file.write_text("no folder")
    before = {path.name for path in runs.iterdir()}
    values = ["rnd", "../x", "a b"] if key != "output_dir" else [below]
    for value in [*BAD, file, file / "below", *values]:
        value = str(value) if isinstance(value, Path) else value
        try:
            report(**{key: value})
        except UserError as error:
            assert str(error).isprintable()  # hence one line
            assert {path.name for path in runs.iterdir()} == before
        else:
            assert value == str(below)


@pytest.mark.parametrize(
    "mode", [[], pytest.param(["-m", "metric=accuracy,nll"], marks=pytest.mark.slow)]
)
def test_a_mistyped_folder_of_runs_creates_nothing(tmp_path, mode):
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *mode, "runs=some/mistyped"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode in (1, 2)  # 1: of a sweep
    assert "no folder some/mistyped; runs=<output_dir of the runs> names it" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "some").exists()
    assert bool(list(tmp_path.iterdir())) == bool(mode)  # a sweep has ./output/report
