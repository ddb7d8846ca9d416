"""Encoders of a config: weights from the seed alone, messages with the keys of the config."""

import pytest
import torch

from dal_toolbox.config import load_features, make_dataset, make_encoder
from dal_toolbox.config.loading import encoder_maker
from dal_toolbox.encoders import create_encoder, save_encoder
from dal_toolbox.errors import UserError


@pytest.fixture
def config(tmp_path):
    return {
        "dataset": {"name": "digits"}, "classes": None, "encoder": None, "features": "encoder",
        "encoder_checkpoint": None, "random_seed": 3, "dataset_path": str(tmp_path / "data"),
        "feature_dir": str(tmp_path / "features"), "batch_size": 64, "n_cpus": 0,
        "accelerator": "cpu", "precision": "32", "dtype": "float32",
    }  # fmt: skip


SMALL = {"name": "small", "width": 8, "checkpoint": None}


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(99)
    encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
    save_encoder(encoder, tmp_path / "run" / "encoder.safetensors", mean=(0.3,), std=(0.4,))
    return str(tmp_path / "run")


def test_weights_follow_the_seed_alone(config):
    config["encoder"], bundle = SMALL, make_dataset(config)
    torch.manual_seed(1)
    first = make_encoder(config, bundle).state_dict()
    torch.manual_seed(2)
    torch.rand(5)
    again = make_encoder(config, bundle).state_dict()
    other = make_encoder({**config, "random_seed": 4}, bundle).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("origin", ["run", "name"])
def test_untrained_features_are_those_with_which_pretraining_begins(config, run, origin):
    changes = {"encoder_checkpoint": run} if origin == "run" else {"encoder": SMALL}
    torch.manual_seed(1)
    first = load_features({**config, **changes, "features": "untrained"})
    torch.manual_seed(2)
    again = load_features({**config, **changes, "features": "untrained"})
    assert first.facts == again.facts
    began = {**config, "encoder": SMALL}
    start = load_features(began)
    assert first.facts["encoder"] == start.facts["encoder"]


def test_mean_and_std_are_needed(config, run, tmp_path):
    encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
    save_encoder(encoder, tmp_path / "bare" / "encoder.safetensors")
    config["encoder_checkpoint"] = str(tmp_path / "bare")
    with pytest.raises(UserError, match=r"^encoder_checkpoint=.*does not tell mean and std"):
        encoder_maker(config)


CASES = [
    ({"width": -1}, "encoder.width=-1: must be an integer of at least 2"),
    ({"width": 10**9}, "encoder.width=1000000000: must be a number from 2 to 1024"),
    ({"checkpoint": "gone.pt"}, "encoder.checkpoint=gone.pt: no such file"),
    ({"name": "timm", "model": "resnet17"}, "encoder.model=resnet17: timm has no such model. Did"),
    ({"name": "timm", "drop_path_rate": 2}, "encoder.drop_path_rate=2: must be a number from 0 to"),
    ({"name": "timm", "model": "vgg11", "drop_path_rate": 0.1}, "encoder.drop_path_rate=0.1: the"),
    ({"name": "resnet18", "stem": "big"}, "encoder.stem='big': choose one of auto, small, imagenet"),
    ({"name": "wide_resnet28_2", "dropout": 1}, "encoder.dropout=1: must be a number from 0 to"),
    ({"name": "timm", "model": "crossvit_tiny_240"}, "encoder=timm: image_size=8: the model"),
    ({"name": "resnet17"}, "encoder.name=resnet17: no encoder 'resnet17'. Did you mean 'resnet18' or"),
    ({"name": "resnet18", "pretrained": True, "checkpoint": "a"}, "encoder.checkpoint=a: pretrained"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "message"), CASES, ids=[message for _, message in CASES])
def test_messages_name_the_keys(config, node, message):
    bundle, known = make_dataset(config), {"name": "small", **node}
    with pytest.raises(UserError) as caught:
        make_encoder({**config, "encoder": known}, bundle)
    assert str(caught.value).startswith(message)
