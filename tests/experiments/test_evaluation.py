"""The evaluation main, on digits and on features from elsewhere."""

import csv
import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from dal_toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

DIGITS = ("dataset=digits", "classifier.num_epochs=20")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_curves_of_pretrained_and_untrained_encoder(run_main, pretrained, tmp_path):
    out = tmp_path / "out"
    options = (*DIGITS, f"encoder_checkpoint={pretrained}", f"feature_dir={tmp_path / 'features'}")
    run_main("evaluation", *options, "compare_untrained=true", f"output_dir={out}")
    trained, untrained = results(out)["rows"]
    assert (trained["features"], untrained["features"]) == ("encoder", "untrained")
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert float(rows[-1]["test/accuracy"]) == pytest.approx(trained["accuracy"])
    assert float(rows[-1]["untrained/test/accuracy"]) == pytest.approx(untrained["accuracy"])
    assert (out / "plots" / "curves.png").exists()


def test_few_images_of_some_classes_resume(run_main, tmp_path):
    options = ("dataset=digits", "features=raw", "classifier=linear", "images_per_class=[2,10]",
               "num_repeats=2", "classes=[1,3,8]")  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_main("evaluation", *options, f"output_dir={whole}")
    run_main("evaluation", *options, f"output_dir={cut}")
    lines = (cut / "evaluation.jsonl").read_text().splitlines(keepends=True)
    (cut / "results.json").unlink()  # as if killed while the second line was written
    (cut / "evaluation.jsonl").write_text(lines[0] + lines[1][:20])
    run_main("evaluation", *options, f"output_dir={cut}")
    assert results(cut) == results(whole)
    assert [row["num_labeled"] for row in results(whole)["rows"]] == [6, 6, 30, 30]
    assert results(whole)["rows"][-1]["accuracy"] > 0.7
    assert (whole / "plots" / "label_efficiency.png").exists()


def test_features_from_elsewhere_need_no_images(run_main, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        targets = np.arange(60) % 3
        np.save(tmp_path / f"{split}.npy", rng.normal(size=(60, 4)) + 3 * np.eye(4)[targets])
        np.save(tmp_path / f"{split}_targets.npy", targets)
    place = (f"features={tmp_path}", f"feature_dir={tmp_path / 'store'}")
    run_main("evaluation", *place, f"output_dir={tmp_path / 'evaluation'}")
    assert results(tmp_path / "evaluation")["rows"][0]["accuracy"] > 0.9
    run_main("active_learning", *place, "strategy=typiclust", "num_cycles=2", "query_size=3",
             f"output_dir={tmp_path / 'al'}")  # fmt: skip
    assert results(tmp_path / "al")["num_labeled"] == 16


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("features=nowhere",), "features=nowhere: no folder or file"),
        (("features=raw", "images_per_class=5"), "images_per_class=5: must be a list of integers"),
        (("features=raw", "images_per_class=[0]"), "images_per_class=0: must be an integer"),
        (("features=raw", "classes=[eleven]"), "no class 'eleven'"),
        (("features=raw", "images_per_class=[900]"), "900 images of each class"),
        ((), "give encoder_checkpoint=<run folder"),
        (("encoder_checkpoint=nowhere",), "encoder_checkpoint=nowhere: no such file or folder"),
        (
            ("encoder=small", "encoder.checkpoint=nowhere.pth"),
            "encoder.checkpoint=nowhere.pth: no such",
        ),
    ],
)
def test_mistakes_are_one_line(run_main, tmp_path, overrides, message):
    process = run_main(
        "evaluation", "dataset=digits", *overrides, f"output_dir={tmp_path}", status=2
    )
    assert message in process.stderr
    assert "Traceback" not in process.stderr


def test_features_with_holes_are_named_and_left_out_on_request(run_main, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        values = rng.normal(size=(60, 4)) + 3 * np.eye(4)[np.arange(60) % 3]
        values[5, 2] = np.nan
        np.save(tmp_path / f"{split}.npy", values)
        np.save(tmp_path / f"{split}_targets.npy", np.array([5, 10**9, -1])[np.arange(60) % 3])
    options = (f"features={tmp_path}", f"feature_dir={tmp_path / 'store'}", "classifier=linear")
    process = run_main("evaluation", *options, f"output_dir={tmp_path / 'a'}", status=2)
    assert "1 of 60 rows" in process.stderr
    assert "'train/5'; features_on_error=skip leaves them out" in process.stderr
    run_main("evaluation", *options, "features_on_error=skip", f"output_dir={tmp_path / 'b'}")
    (row,) = results(tmp_path / "b")["rows"]
    assert row["accuracy"] > 0.9
    assert row["num_labeled"] == 40  # of the third without a label, row 5 is one
    assert results(tmp_path / "b")["classes"] == ["5", "1000000000"]


def test_nothing_to_measure_with(run_main, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 4)))
    np.save(tmp_path / "x_targets.npy", np.arange(60) % 3)
    process = run_main(
        "evaluation", f"features={tmp_path / 'x.npy'}", f"feature_dir={tmp_path / 'store'}",
        f"output_dir={tmp_path / 'out'}", status=2,
    )  # fmt: skip
    assert "error: x has no test item with a label; nothing can be evaluated" in process.stderr


def test_fits_of_other_features_are_not_taken_up(run_main, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        np.save(tmp_path / f"{split}.npy", rng.normal(size=(60, 4)))
        np.save(tmp_path / f"{split}_targets.npy", np.arange(60) % 3)
    out = tmp_path / "out"
    options = (f"features={tmp_path}", f"feature_dir={tmp_path / 'store'}", "classifier=linear",
               "images_per_class=[5]", f"output_dir={out}")  # fmt: skip
    run_main("evaluation", *options)
    run_main("evaluation", *options, "num_repeats=2")  # more draws extend a run
    assert len(results(out)["rows"]) == 2
    (out / "results.json").unlink()
    lines = (out / "evaluation.jsonl").read_text().splitlines()
    (out / "evaluation.jsonl").write_text('{"features": 3}\n' + lines[1] + "\n")
    process = run_main("evaluation", *options, "num_repeats=2")
    assert "line 1 is damaged; it is fitted again" in process.stderr
    (out / "results.json").unlink()
    np.save(tmp_path / "train.npy", rng.normal(size=(60, 4)))
    process = run_main("evaluation", *options, "num_repeats=2", status=2)
    assert "was begun with another training data" in process.stderr


def test_every_value_of_every_key_passes_or_is_refused_in_one_line(tmp_path):
    check = runpy.run_path(str(ROOT / "experiments/evaluation/main.py"))["check"]
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/evaluation.yaml"))
    config |= {"feature_dir": str(tmp_path), "features": "raw", "classifier": {"name": "linear"}}
    keys = set(config) - {"defaults", "hydra", "classifier"}
    refused = {key: [] for key in keys}
    for key in keys:
        for value in [0, -1, 2**70, 1.5, math.nan, True, None, "", "x", [], [0], ["x"], {"a": 1}]:
            few = {} if key == "images_per_class" else {"images_per_class": [1]}
            try:
                check({**config, **few, key: value})
            except UserError as error:
                assert "\n" not in str(error)
                assert key in str(error), value
                refused[key].append(value)
    # The rest belongs to the run folder, the plugins and the encoder.
    assert {key for key, values in refused.items() if not values} == {
        "plugins", "output_dir", "overwrite", "encoder_checkpoint",
    }  # fmt: skip
    assert all(wrong in refused["num_repeats"] for wrong in (0, -1, None, 1.5, "x"))
    assert all(wrong in refused["compare_untrained"] for wrong in (None, "x", -1))
    with pytest.raises(UserError, match="compare_untrained=true: features=raw has no encoder"):
        check({**config, "compare_untrained": True})
    check({**config, "compare_untrained": True, "encoder_checkpoint": "run"})
    with pytest.raises(UserError, match="classifier.l2=-1: "):
        check({**config, "classifier": {"name": "linear", "l2": -1}})
