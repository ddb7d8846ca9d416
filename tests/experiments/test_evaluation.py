"""The evaluation main, on digits and on features from elsewhere."""

import csv
import json

import numpy as np
import pytest

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
        (("features=nowhere",), "features=nowhere: choose encoder"),
        (("features=raw", "images_per_class=5"), "give a list of numbers"),
        (("features=raw", "classes=[eleven]"), "no class 'eleven'"),
        (("features=raw", "images_per_class=[900]"), "900 images of each class"),
        ((), "give encoder_checkpoint=<run folder"),
    ],
)
def test_mistakes_are_one_line(run_main, tmp_path, overrides, message):
    process = run_main(
        "evaluation", "dataset=digits", *overrides, f"output_dir={tmp_path}", status=2
    )
    assert message in process.stderr
    assert "Traceback" not in process.stderr
