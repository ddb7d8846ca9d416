"""The parts of a pretraining from its config, with errors in the words of the config."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

from dal_toolbox.arguments import non_negative
from dal_toolbox.augment import RECIPES, BatchAugment
from dal_toolbox.config import build, num_workers
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.encoders import Encoder
from dal_toolbox.errors import UserError
from dal_toolbox.ssl import SSL_METHODS, Optimization, SSLMethod
from dal_toolbox.ssl.base import check_views
from dal_toolbox.ssl.evaluation import EvaluationPlan
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
}
LINEAR = ("num_epochs", "train_batch_size", "val_batch_size")


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
