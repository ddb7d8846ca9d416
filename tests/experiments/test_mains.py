"""The mains from end to end, on digits."""

import csv
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dal_toolbox.encoders import load_encoder

BAD_FILES = Path(__file__).resolve().parents[1] / "datasets" / "bad_files.py"
AL = ("dataset=digits", "num_cycles=2", "query_size=5")
EXPLAINED = (
    "config_resolved.yaml",
    "config_tree.txt",
    "environment.json",
    "main.log",
    "results.json",
)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_ssl_leaves_an_encoder_and_explains_itself(pretrained):
    for name in (*EXPLAINED, "metrics.csv", "encoder.safetensors", "checkpoints/last.ckpt",
                 "checkpoints/best.ckpt", "plots/pretraining.png"):  # fmt: skip
        assert (pretrained / name).exists(), name
    encoder, facts = load_encoder(pretrained)
    assert encoder.num_features == 32
    assert facts["dataset"] == "digits"
    rows = list(csv.DictReader((pretrained / "metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["test/knn_accuracy"]) > 0.5
    assert "temperature: 0.5" in (pretrained / "config_resolved.yaml").read_text()


def test_a_finished_run_says_so_and_changes_nothing(run_main, pretrained, ssl_options):
    before = (pretrained / "encoder.safetensors").stat().st_mtime_ns
    process = run_main("ssl", *ssl_options, f"output_dir={pretrained}")
    assert "finished earlier" in process.stderr
    assert (pretrained / "encoder.safetensors").stat().st_mtime_ns == before


def test_features_then_active_learning_extracts_nothing(run_main, pretrained, tmp_path):
    shared = (f"encoder_checkpoint={pretrained}", f"feature_dir={tmp_path / 'store'}")
    run_main(
        "features", "dataset=digits", *shared, f"output_dir={tmp_path / 'f'}", "num_neighbors=5"
    )
    entries = sorted(path.name for path in (tmp_path / "store").iterdir() if path.is_dir())
    assert len(entries) == 2
    process = run_main(
        "active_learning", *AL, *shared, "strategy=margin", f"output_dir={tmp_path / 'al'}"
    )
    assert process.stderr.count("found") == 2
    assert "computed" not in process.stderr
    results = lines(tmp_path / "al" / "results.jsonl")
    assert [row["num_labeled"] for row in results] == [10, 15, 20]
    picked = np.concatenate([row["queried"] for row in results])
    assert len(set(picked)) == 20
    assert (tmp_path / "al" / "plots" / "learning_curve.png").exists()
    for name in EXPLAINED:
        assert (tmp_path / "al" / name).exists(), name


def test_sweep_report_and_any_directory(run_main, tmp_path):
    sweep = ("features=raw", "strategy=random,coreset", "random_seed=0,1", "output_dir=out")
    run_main("active_learning", "-m", *AL, *sweep, cwd=tmp_path)
    assert len(list((tmp_path / "out").glob("*/results.json"))) == 4
    report = run_main("report", "runs=out", cwd=tmp_path)
    assert "coreset" in report.stderr
    assert (tmp_path / "out" / "learning_curves.png").exists()
    rows = list(csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines()))
    assert {row["strategy"] for row in rows} == {"random", "coreset"}


def test_interrupted_cycles_resume_to_identical_picks(run_main, tmp_path):
    options = (*AL, "features=raw", "strategy=typiclust")
    whole, half = tmp_path / "whole", tmp_path / "half"
    run_main("active_learning", *options, f"output_dir={whole}")
    run_main("active_learning", *options, f"output_dir={half}")
    first = (half / "results.jsonl").read_text().splitlines()
    (half / "results.jsonl").write_text(first[0] + "\n" + first[1][:40])  # torn by a kill
    (half / "results.json").unlink()
    run_main("active_learning", *options, f"output_dir={half}")
    for a, b in zip(lines(whole / "results.jsonl"), lines(half / "results.jsonl"), strict=True):
        assert (a["queried"], a["labels"], a["metrics"]) == (
            b["queried"],
            b["labels"],
            b["metrics"],
        )


PLUGIN = '''
from dal_toolbox.active_learning.strategies import STRATEGIES, ScoreStrategy


@STRATEGIES.register("smallest_norm")
class SmallestNorm(ScoreStrategy):
    """Prefers items of small norm."""

    def __init__(self, *, power: float = 1.0) -> None:
        self.power = power

    def score(self, context):
        return -context.features[context.unlabeled].float().norm(dim=1) ** self.power
'''


def test_a_plugin_is_one_file(run_main, tmp_path):
    (tmp_path / "my_strategies.py").write_text(PLUGIN)
    plugin = ("plugins=[my_strategies]", "features=raw", *AL)
    run_main(
        "active_learning",
        *plugin,
        "-m",
        "strategy=smallest_norm,random",
        "output_dir=out",
        cwd=tmp_path,
    )
    assert len(list((tmp_path / "out").glob("*/results.json"))) == 2
    run_main("active_learning", *plugin, "strategy=smallest_norm", "strategy.power=2.0", "output_dir=one",
             cwd=tmp_path)  # fmt: skip
    config = yaml.safe_load((tmp_path / "one" / "config_resolved.yaml").read_text())
    assert config["strategy"] == {"name": "smallest_norm", "power": 2.0}


@pytest.mark.parametrize(
    "name, overrides, message",
    [
        ("active_learning", ["strategy=typyclust"], "Did you mean 'typiclust'?"),
        ("active_learning", ["query_size=ten"], "query_size=ten: expected an integer"),
        ("active_learning", ["querysize=3"], "Did you mean 'query_size'?"),
        ("active_learning", ["dataset=digits"], "encoder_checkpoint="),
        (
            "active_learning",
            ["dataset=digits", "plugins=[no.such]"],
            "plugin 'no.such' cannot be imported",
        ),
        ("report", ["runs=nowhere"], "no folder nowhere"),
        ("ssl", ["ssl_model=simclr"], "dataset_path"),
        ("ssl", ["dataset=folder"], "dataset.root"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run_main, tmp_path, name, overrides, message):
    process = run_main(name, *overrides, cwd=tmp_path, status=2)
    assert message in process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in process.stderr


def test_bad_files_are_left_out_and_named(run_main, ssl_options, tmp_path):
    make_bad_files = runpy.run_path(str(BAD_FILES))["make_bad_files"]
    root, rng = tmp_path / "images", np.random.default_rng(0)
    for i in range(40):
        path = root / f"class_{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    bad = make_bad_files(root / "class_1")
    assert len(set(bad.values())) >= 12
    options = [o for o in ssl_options if not o.startswith("dataset=")]
    folder = ("dataset=folder", f"dataset.root={root}", "dataset.image_size=16")
    place = (f"dataset_path={tmp_path}", f"output_dir={tmp_path / 'out'}")
    process = run_main("ssl", *options, *folder, *place, status=2)
    assert "on_error=skip" in process.stderr
    run_main("ssl", *options, *folder, *place, "dataset.on_error=skip")
    lines_ = (tmp_path / "out" / "data" / "skipped.txt").read_text().splitlines()
    assert {line.split("\t")[0] for line in lines_} == {f"class_1/{name}" for name in bad}
    assert all(line.split("\t")[1] for line in lines_)  # a reason each
