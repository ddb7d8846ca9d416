"""What a config says of data and features: every value is used, or refused in one line."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dal_toolbox.config import check_extraction, load_features
from dal_toolbox.config.loading import encoder_maker, in_keys
from dal_toolbox.errors import UserError

STRANGE = [0, -1, 2**70, 1.5, math.nan, True, None, "", "nonsense", "x" * 5000, [], ["x"], {},
           {"a": 1}]  # fmt: skip
REFUSED = {  # what could only be a mistake
    "n_cpus": [-1, 1.5, math.nan, None, "nonsense", []],
    "random_seed": [-1, 2**70, 1.5, math.nan, None, "nonsense"],
    "classes": [0, -1, True, "nonsense", ["x"], {"a": 1}],
    "dataset_path": [0, None, "", []],
    "feature_dir": [0, None, "", []],
    "features": [0, -1, None, "", "nonsense", []],
    "features_on_error": [0, True, None, "", "nonsense"],
    "batch_size": [0, -1, 1.5, math.nan, True, None, "nonsense", []],
    "dtype": [0, None, "", "nonsense", []],
    "precision": [0, -1, None, "", "nonsense", []],
    "accelerator": [-1, 1.5, True, None, "", "nonsense", [], {}],
    "encoder_checkpoint": [],  # not read where features are pixels
}


@pytest.fixture
def config(tmp_path):
    return {
        "n_cpus": 1, "random_seed": 0, "classes": None, "dataset": {"name": "digits"},
        "dataset_path": str(tmp_path), "feature_dir": str(tmp_path / "store"), "features": "raw",
        "features_on_error": "raise", "encoder_checkpoint": None, "batch_size": 512,
        "dtype": "float32", "precision": "auto", "accelerator": "auto",
    }  # fmt: skip


@pytest.mark.parametrize("key", REFUSED)
def test_every_value_of_every_key_is_used_or_refused_in_one_line(config, key):
    for value in STRANGE:
        try:
            load_features({**config, key: value})
        except UserError as error:
            assert "\n" not in str(error)
            assert key[:5] in str(error), value
        else:
            assert not any(value is wrong or value == wrong for wrong in REFUSED[key]), value


def test_the_walk_covers_every_key(config):
    assert set(REFUSED) == set(config) - {"dataset"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accelerator": "gpu"}, "accelerator='gpu': not on this machine; choose auto or cpu"),
        ({"accelerator": "tpu"}, "accelerator='tpu': not on this machine; choose auto or cpu"),
        ({"precision": "fp8"}, "precision='fp8': choose one of auto, 32, bf16, 16"),
        ({"dtype": "float8"}, "dtype='float8': choose one of float16, float32, float64"),
        ({"features": "nowhere"}, "features=nowhere: choose encoder, untrained, raw, or a folder"),
        ({"classes": 3}, "classes=3: must be a list, such as [cat,dog]"),
    ],
)
def test_messages_name_keys(config, change, message):
    if torch.cuda.is_available() and change == {"accelerator": "gpu"}:
        pytest.skip("there is one")
    with pytest.raises(UserError) as caught:
        check_extraction({**config, **change})
    assert str(caught.value).startswith(message)


def test_only_parameters_of_the_parts_are_renamed():
    with pytest.raises(UserError) as caught, in_keys():
        raise ValueError("dataset.on_error=skip, on_error=skip, data_source=1")
    assert str(caught.value) == "dataset.on_error=skip, features_on_error=skip, data_source=1"


def test_what_needs_no_data_is_looked_for_first(config, tmp_path):
    config["features"], config["dataset"] = "encoder", {"name": "never built"}
    for change, message in [
        ({}, "give encoder_checkpoint="),
        ({"encoder_checkpoint": str(tmp_path)}, "no encoder at .*encoder.safetensors is missing"),
        ({"encoder": {"name": "small", "checkpoint": "gone.pt"}}, "encoder.checkpoint=gone.pt: no"),
    ]:
        with pytest.raises(UserError, match=message):
            load_features({**config, **change})


def test_places_of_weights_are_looked_for_first(config):
    config["features"], config["dataset"] = "encoder", {"name": "never built"}
    for value in [*STRANGE, "\0"]:
        changes = [{"encoder_checkpoint": value}]
        if value is not None:
            changes.append({"encoder": {"name": "small", "checkpoint": value}})
        for change in changes:
            with pytest.raises(UserError, match=r"^(encoder[._]checkpoint=|give encoder_check)"):
                load_features({**config, **change})


def test_untrained_weights_come_from_the_seed(config):
    config["encoder"] = {"name": "small", "width": 8}
    config["features"] = "encoder"
    torch.manual_seed(1)
    first = load_features(config)
    torch.manual_seed(2)
    again = load_features(config)
    other = load_features({**config, "random_seed": 1})
    assert first.facts == again.facts
    assert torch.equal(first.train.values, again.train.values)
    changed = [name for name in first.facts if first.facts[name] != other.facts[name]]
    assert changed == ["encoder"]


def test_facts_follow_data_and_encoder(config, tmp_path):
    data = load_features(config)
    assert data.facts["training data"].startswith(f"digits, {len(data.train)} images (")
    assert set(data.facts) == {"training data", "test data"}
    fewer = load_features({**config, "classes": ["1", "7"]})
    assert all(fewer.facts[name] != data.facts[name] for name in data.facts)
    np.save(tmp_path / "x.npy", np.eye(4))
    files = load_features({**config, "features": str(tmp_path / "x.npy")})
    assert files.facts["training data"].startswith("x.npy, 4 rows of length 4 (")
    assert files.test is None


def test_the_warning_names_the_model(config, caplog):
    maker = encoder_maker({**config, "encoder": {"name": "small", "width": 8}})
    bundle = type("Bundle", (), {"image_size": 8, "in_channels": 1, "mean": (0.5,), "std": (0.2,)})
    maker(bundle)
    assert "encoder small is untrained; encoder.checkpoint=<file> loads weights" in caplog.text
    assert Path(config["dataset_path"]).exists()
