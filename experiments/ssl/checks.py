"""What can be said of a config before any image is opened."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import outputs
import parts
import torch
import yaml

from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.config import check_weights
from dal_toolbox.encoders import ENCODERS, create_encoder
from dal_toolbox.encoders.base import is_timm_model
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_text
from dal_toolbox.ssl import SSLMethod
from dal_toolbox.ssl.loggers import check_logger


def check(config: Mapping[str, Any]) -> None:
    """Checks all that can be checked before data is opened: parts are built for trial.

    Raises:
        UserError: One line that begins with the key.
    """
    parts.make_optimization(config)
    parts.make_options(config)
    plan = parts.make_plan(config)
    linear = {key: f"le_model.{key}" for key in parts.LINEAR}
    with parts.in_keys(linear, at="le_model.optimizer", whole="le_model.name"):
        options = {key: value for key, value in (plan.linear or {}).items() if key != "classifier"}
        CLASSIFIERS.build(str(config["le_model"]["name"]), num_classes=2, **options)
    with parts.in_keys({"name": "logger.name"}):
        check_logger(config["logger"]["name"])
    with parts.in_keys({"types": "export.types", "tsne": "tsne"}):
        outputs.check(config["tsne"], config["export"]["types"])
    check_encoder(config["encoder"])
    method = trial_method(config)
    for make in (parts.make_views, parts.make_validation_views):
        make(config, size=224, mean=(0.5,) * 3, std=(0.25,) * 3, method=method)


def trial_method(config: Mapping[str, Any]) -> SSLMethod | None:
    """The method without memory, whatever its size; None for one that cannot be made so."""
    try:
        with torch.device("meta"):
            return parts.make_method(config, create_encoder("small", image_size=32, width=8))
    except RuntimeError:  # a plugin that looks at values
        return None


def check_encoder(node: Mapping[str, Any]) -> None:
    """Checks names and files of an encoder; what depends on the images is left to its making.

    Raises:
        UserError: There is no such encoder, or no such file.
    """
    key, model = ("model", node["model"]) if node["name"] == "timm" else ("name", node["name"])
    if (key == "model" or model not in ENCODERS) and not is_timm_model(model):
        import timm

        near = get_close_matches(str(model), [*ENCODERS, *timm.list_models()], n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise UserError(f"encoder.{key}={model}: neither the registry nor timm has it.{hint}")
    weights = node.get("checkpoint")
    if weights is not None and node.get("pretrained"):
        raise UserError(f"encoder.checkpoint={weights}: encoder.pretrained=true gives weights, too")
    if weights is not None and not Path(weights).exists():
        raise UserError(f"encoder.checkpoint={weights}: no such file")
    check_weights(node)


def refuse_other_length(config: Mapping[str, Any], folder: Path) -> None:
    """Explains why a run cannot be made longer, and what can be done instead.

    Raises:
        UserError: The folder holds the same run with another number of epochs.
    """
    file = folder / "config_resolved.yaml"
    if config["overwrite"] or not (folder / "checkpoints").is_dir() or not file.is_file():
        return
    try:
        before = dict(yaml.safe_load(read_text(file))["model"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError):  # the run folder says what is wrong
        return
    epochs = config["model"]["n_epochs"]
    if before == config["model"] or {**before, "n_epochs": epochs} != config["model"]:
        return
    done = (folder / "encoder.safetensors").is_file()
    weights = folder if done else folder / "checkpoints" / "last.ckpt"
    raise UserError(
        f"model.n_epochs={epochs}: {folder} holds a run of {before['n_epochs']} epochs, whose cosine "
        "schedule cannot be made longer or shorter; go on from its weights in a new run: "
        f"output_dir=<another folder> encoder.checkpoint={weights}"
    )
