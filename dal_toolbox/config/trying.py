"""Parts built for trial, before data is opened: they refuse what they cannot work with."""

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from dal_toolbox.config.parts import COMMON, GROUPS, build, placed, registry_of
from dal_toolbox.errors import UserError
from dal_toolbox.hyperparameters import check_hyperparameters, hyperparameters
from dal_toolbox.registry import Registry, UnknownName


def try_part(group: str, node: Mapping[str, Any]) -> None:
    """Checks the hyperparameters of a part, and builds it where that needs no data.

    Raises:
        UserError: One line that begins with the key.
    """
    _try(group, json.dumps(_own(group, node)))


def try_pretraining(values: Mapping[str, Any]) -> None:
    """Checks the keys of pretraining that are options of parts.

    Raises:
        UserError: One line that begins with the key.
    """
    from dal_toolbox.classifiers import CLASSIFIERS
    from dal_toolbox.ssl import SSL_METHODS
    from dal_toolbox.ssl.optimization import Optimization

    model, linear = values["model"], values["le_model"]
    try:
        check_hyperparameters(Optimization, model["optimizer"])
        Optimization(**model["optimizer"])
    except (ValueError, UserError) as error:
        raise placed(error, "model.optimizer", model["optimizer"]) from error
    recipe = getattr(SSL_METHODS[model["name"]], "default_augmentation", "simclr")
    _try_views("model.augmentation", model["augmentation"], values, recipe)
    if (mild := values["validation_augmentation"]) is not None:
        _try_views("validation_augmentation", {"name": mild}, values, recipe)
    options = {key: linear[key] for key in ("num_epochs", "train_batch_size", "val_batch_size")}
    try:
        CLASSIFIERS.build(linear["name"], num_classes=2, **options, **linear["optimizer"])
    except (ValueError, UserError) as error:
        raise placed(error, "le_model", linear, linear["name"]) from error


@lru_cache(maxsize=1024)
def _try(group: str, text: str) -> None:
    node, registry, at = json.loads(text), registry_of(group), GROUPS[group].package
    name, options = str(node["name"]), {key: node[key] for key in node if key != "name"}
    try:
        registry.check(name, options)
    except (ValueError, UserError) as error:
        raise placed(error, at, options, name) from error
    if group in ("strategy", "initial"):
        build(registry, node)
    elif group == "classifier":
        build(registry, node, num_classes=2)
    elif group == "encoder":
        _try_encoder(registry, node)
    elif group == "ssl_model":
        _try_method(registry, node)


def _own(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a part without the keys that belong to the training, or to all parts."""
    if group != "ssl_model":
        return {key: value for key, value in node.items() if key not in COMMON.get(group, {})}
    methods, name = registry_of(group), str(node["name"])
    known = {"name", *(hyperparameters(methods[name]) if name in methods else ())}
    return {key: value for key, value in node.items() if key in known}


def _try_encoder(encoders: Registry, node: dict[str, Any]) -> None:
    """Builds an encoder without memory; what depends on the images is left to the run."""
    if "pretrained" in node:
        node = {**node, "pretrained": False}
    try:
        with torch.device("meta"):
            encoder = build(encoders, node, image_size=224, in_channels=3)
    except UserError as error:
        if isinstance(error, UnknownName) or str(error).startswith("encoder."):
            raise
    except Exception:  # a model that cannot be built without memory
        return
    else:
        _check_memory(encoder, "encoder")


def _try_method(methods: Registry, node: dict[str, Any]) -> None:
    try:
        with torch.device("meta"):
            encoder = registry_of("encoder").build("small", width=8, image_size=32, in_channels=3)
            method = build(methods, node, encoder=encoder)
    except (RuntimeError, OverflowError) as error:  # sizes beyond every memory
        raise UserError(f"model={node['name']}: {str(error).splitlines()[0]}") from error
    _check_memory(method, "model")


def _check_memory(module: torch.nn.Module, at: str) -> None:
    size = sum(weight.nbytes for weight in module.parameters())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise UserError(
            f"{at}: the weights would take {size / 1e9:,.0f} GB of {memory / 1e9:,.0f} GB of memory"
        )


def _try_views(at: str, node: Mapping[str, Any], values: Mapping[str, Any], recipe: str) -> None:
    from dal_toolbox.augment import RECIPES

    node = {key: value for key, value in node.items() if value is not None}
    node["name"] = recipe if node["name"] == "auto" else node["name"]
    strength, colors = values["color_distortion_strength"], [0.5, 0.5, 0.5]
    try:
        build(RECIPES, node, at=at, size=32, mean=colors, std=colors, strength=strength)
    except UserError as error:
        _, of_strength, rest = f": {error}".partition(": strength=")
        if of_strength:
            error.args = (f"color_distortion_strength={rest}",)
        raise
