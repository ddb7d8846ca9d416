"""The parts of a pretraining from its config, and the checks that need no images."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

import outputs
import torch
import yaml

from dal_toolbox.arguments import non_negative
from dal_toolbox.augment import RECIPES, BatchAugment
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.config import build, num_workers
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.encoders import ENCODERS, Encoder, create_encoder
from dal_toolbox.encoders.base import is_timm_model
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_text
from dal_toolbox.ssl import SSL_METHODS, Optimization, SSLMethod
from dal_toolbox.ssl.base import check_views
from dal_toolbox.ssl.evaluation import EvaluationPlan
from dal_toolbox.ssl.loggers import check_logger
from dal_toolbox.ssl.options import TrainingOptions

Config = Mapping[str, Any]
# Keys of ``model`` that belong to the training, not to the method.
TRAINING = ("encoder", "n_epochs", "train_batch_size", "accumulate_batches", "predict_batch_size",
            "optimizer", "augmentation")  # fmt: skip
# Arguments of the parts, and the keys that give them.
KEYS = {
    "epochs": "model.n_epochs",
    "batch_size": "model.train_batch_size",
    "train_batch_size": "model.train_batch_size",
    "accumulate_batches": "model.accumulate_batches",
    "predict_batch_size": "model.predict_batch_size",
    "precision": "trainer.precision",
    "device": "trainer.accelerator",
    "residency": "residency",
    "num_workers": "n_cpus",
    "seed": "random_seed",
    "monitor": "monitor",
    "interval": "ssl_val_interval",
    "linear_interval": "le_model.callback.interval",
    "k": "knn.k",
    "temperature": "knn.temperature",
    "base_lr": "model.optimizer.base_lr",
    "strength": "color_distortion_strength",
    "augment": "validation_augmentation",
}
LINEAR = ("num_epochs", "train_batch_size", "val_batch_size")


def check(config: Config) -> None:
    """Checks all that can be checked before data is opened: parts are built for trial.

    Raises:
        UserError: One line that begins with the key.
    """
    make_optimization(config)
    make_options(config)
    plan = make_plan(config)
    linear = {key: f"le_model.{key}" for key in LINEAR}
    with in_keys(linear, at="le_model.optimizer", whole="le_model.name"):
        options = {key: value for key, value in (plan.linear or {}).items() if key != "classifier"}
        CLASSIFIERS.build(str(config["le_model"]["name"]), num_classes=2, **options)
    with in_keys({"name": "logger.name"}):
        check_logger(config["logger"]["name"])
    with in_keys({"types": "export.types", "tsne": "tsne"}):
        outputs.check(config["tsne"], config["export"]["types"])
    check_encoder(config["encoder"])
    with torch.device("meta"):  # whatever its size, it takes no memory
        method = make_method(config, create_encoder("small", image_size=32, width=8))
    for make in (make_views, make_validation_views):
        make(config, size=224, mean=(0.5,) * 3, std=(0.25,) * 3, method=method)


def check_encoder(node: Config) -> None:
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


def refuse_other_length(config: Config, folder: Path) -> None:
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


def make_optimization(config: Config) -> Optimization:
    """Optimizer and schedule."""
    with in_keys({}, at="model.optimizer"):
        return Optimization(**config["model"]["optimizer"])


def make_options(config: Config) -> TrainingOptions:
    """Sizes, precision and device of the training."""
    model, trainer = config["model"], config["trainer"]
    with in_keys():
        return TrainingOptions(
            epochs=model["n_epochs"],
            batch_size=model["train_batch_size"],
            accumulate_batches=model["accumulate_batches"],
            precision=trainer["precision"],
            device=trainer["accelerator"],
            residency=config["residency"],
            num_workers=num_workers(config),
            seed=config["random_seed"],
        )


def make_plan(config: Config) -> EvaluationPlan:
    """k-NN and linear evaluation, and the validation loss where there is a validation split."""
    le_model, model = config["le_model"], config["model"]
    linear = {
        "classifier": le_model["name"],
        **{key: le_model[key] for key in LINEAR},
        **le_model["optimizer"],
    }
    with in_keys():
        return EvaluationPlan(
            monitor=config["monitor"],
            interval=config["ssl_val_interval"],
            k=config["knn"]["k"],
            temperature=config["knn"]["temperature"],
            linear=linear if le_model["callback"]["enabled"] else None,
            linear_interval=le_model["callback"]["interval"],
            train_batch_size=model["train_batch_size"],
            predict_batch_size=model["predict_batch_size"],
            num_workers=num_workers(config),
            seed=config["random_seed"],
        )


def make_method(config: Config, encoder: Encoder) -> SSLMethod:
    """The method around an encoder."""
    node = {key: value for key, value in config["model"].items() if key not in TRAINING}
    return build(SSL_METHODS, node, encoder=encoder)


def make_views(config: Config, **images: Any) -> BatchAugment:
    """The views of the training: the method's own recipe, or another, with what the config changes."""
    node = config["model"]["augmentation"]
    keys = {"strength": KEYS["strength"]}
    with in_keys(keys, at="model.augmentation", whole="model.augmentation.name"):
        return _augment(config, node, **images)


def make_validation_views(config: Config, **images: Any) -> BatchAugment:
    """The views of the validation loss: those of the training, or of a recipe of its own."""
    recipe = config["validation_augmentation"]
    if recipe is None:
        return make_views(config, **images)
    with in_keys({"strength": KEYS["strength"]}, whole="validation_augmentation"):
        return _augment(config, {"name": recipe}, **images)


def _augment(
    config: Config, node: Config, method: SSLMethod | None = None, **images: Any
) -> BatchAugment:
    changes = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in node.items()
        if value is not None and key != "name"
    }
    name = str(node["name"])
    if name == "auto":
        name = SSL_METHODS[config["model"]["name"]].default_augmentation
    non_negative(strength=config["color_distortion_strength"])
    if "strength" in signature(RECIPES[name]).parameters:  # it distorts colors
        changes["strength"] = config["color_distortion_strength"]
    augment = RECIPES.build(name, **images, **changes)
    if method is not None:
        check_views(method, augment)
    return augment


def facts_of(bundle: DatasetBundle) -> dict[str, Any]:
    """What views need to know of the images."""
    return {"size": bundle.image_size, "mean": bundle.mean, "std": bundle.std}


@contextmanager
def in_keys(
    keys: Mapping[str, str] = KEYS, at: str | None = None, whole: str | None = None
) -> Iterator[None]:
    """Says in the words of the config what parts say in words of their arguments.

    Args:
        keys: Keys of arguments; errors about others are left as they are, but for ``at``.
        at: Node of the arguments that ``keys`` does not hold.
        whole: Key that is named where an error speaks of no argument.
    """
    try:
        yield
    except (ValueError, TypeError, UserError) as error:
        message = " ".join(str(error).split())
        name, equals, _ = message.partition("=")
        if equals and name in keys:
            message = f"{keys[name]}{message.removeprefix(name)}"
        elif equals and at is not None and name.isidentifier():
            message = f"{at}.{message}"
        elif whole is not None:
            message = f"{whole}: {message}"
        elif not isinstance(error, UserError):
            raise
        kind = type(error) if isinstance(error, UserError) else UserError
        raise kind(message) from error
