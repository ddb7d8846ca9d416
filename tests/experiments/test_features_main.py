"""The features main: which splits it extracts, and what it refuses before data is opened."""

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from dal_toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MAIN = runpy.run_path(str(ROOT / "experiments/features/main.py"))
STRANGE = [0, -1, 2**70, 1.5, math.nan, True, None, "", "nonsense", [], ["x"], {"a": 1}]


def bundle(**splits):
    return SimpleNamespace(name="photos", **{name: splits.get(name) for name in MAIN["SPLITS"]})


def test_by_default_every_split_that_is_there():
    assert MAIN["splits_of"](bundle(train=[1], test=None), None) == ["train"]
    assert MAIN["splits_of"](bundle(train=[1], test=[2], unlabeled=[3]), None) == [
        "train", "test", "unlabeled",
    ]  # fmt: skip
    assert MAIN["splits_of"](bundle(train=[1], test=[2]), "test") == ["test"]
    with pytest.raises(UserError, match="photos has no split 'test', only train"):
        MAIN["splits_of"](bundle(train=[1]), ["train", "test"])


def test_more_neighbors_than_images_are_refused_before_the_work():
    MAIN["check_neighbors"](bundle(train=[1, 2]), ["train"], 1)
    with pytest.raises(UserError, match="num_neighbors=2: test has 2 images"):
        MAIN["check_neighbors"](bundle(train=[1, 2, 3], test=[1, 2]), ["train", "test"], 2)


def test_every_value_of_every_key_passes_or_is_refused_in_one_line(tmp_path):
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/features.yaml"))
    keys = set(config) - {"defaults", "hydra"}
    config["feature_dir"] = config["dataset_path"] = str(tmp_path)
    refused = {key: [] for key in keys}
    for key in keys:
        for value in STRANGE:
            try:
                MAIN["check"]({**config, key: value})
            except UserError as error:
                assert "\n" not in str(error)
                assert key in str(error)
                refused[key].append(value)
    # The rest belongs to the run folder, the plugins and the encoder.
    assert {key for key, values in refused.items() if not values} == {
        "plugins", "output_dir", "overwrite", "encoder_checkpoint",
    }  # fmt: skip
    assert all(wrong in refused["splits"] for wrong in (0, -1, "", "nonsense", [], ["x"]))
    assert all(wrong in refused["num_neighbors"] for wrong in (-1, 1.5, None, "nonsense"))


def test_rows_shapes_and_classes_are_in_the_results(run_main, tmp_path):
    options = ("dataset=digits", "encoder=small", "encoder.width=8", "splits=[test]",
               f"feature_dir={tmp_path / 'store'}", f"output_dir={tmp_path / 'out'}")  # fmt: skip
    run_main("features", *options)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["test"]["shape"][1] == 32
    assert results["classes"] == [str(i) for i in range(10)]
    assert len(list((tmp_path / "store").glob("*/manifest.json"))) == 1
