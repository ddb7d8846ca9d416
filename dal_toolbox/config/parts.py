"""Registries as config groups: a parameter with a default is a hyperparameter, hence a config key."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from dal_toolbox.errors import UserError
from dal_toolbox.hyperparameters import hyperparameters
from dal_toolbox.registry import BrokenPlugin, Registry, UnknownName

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SCALARS = (int, float, str, bool)


class Group(NamedTuple):
    """Where the parts of a config group are registered, and where their node lands in the config."""

    module: str
    registry: str
    package: str


GROUPS = {
    "dataset": Group("dal_toolbox.datasets", "DATASETS", "dataset"),
    "encoder": Group("dal_toolbox.encoders", "ENCODERS", "encoder"),
    "ssl_model": Group("dal_toolbox.ssl", "SSL_METHODS", "model"),
    "classifier": Group("dal_toolbox.classifiers", "CLASSIFIERS", "classifier"),
    "strategy": Group("dal_toolbox.active_learning.strategies", "STRATEGIES", "strategy"),
    "oracle": Group("dal_toolbox.active_learning.oracles", "ORACLES", "oracle"),
    "initial": Group("dal_toolbox.active_learning.initial", "INITIAL", "initial"),
}


# Keys that every part of a group takes besides its own: annotation and default.
COMMON: dict[str, dict[str, tuple[Any, Any]]] = {"encoder": {"checkpoint": (str | None, None)}}
_MIRRORED: dict[tuple[str, str], Any] = {}  # factories whose nodes Hydra has


@lru_cache
def recipes_of(group: str) -> frozenset[str]:
    """Names of the YAML files of a group."""
    return frozenset(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def registry_of(group: str) -> Registry:
    """The registry behind a config group."""
    module, name, _ = GROUPS[group]
    return getattr(importlib.import_module(module), name)


@lru_cache
def primary(config_name: str) -> dict[str, Any]:
    """``configs/<config_name>.yaml`` as plain dict, interpolations as they stand."""
    return load_yaml(CONFIGS / f"{config_name}.yaml")


def load_yaml(file: Path) -> dict[str, Any]:
    """A config file as plain dict."""
    loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return {str(key): value for key, value in loaded.items()} if isinstance(loaded, dict) else {}


def groups_of(config_name: str) -> dict[str, str | None]:
    """The groups that a primary config uses, and the part that it chooses; None: none."""
    items = [item for item in primary(config_name)["defaults"] if isinstance(item, dict)]
    chosen = {group: choice for item in items for group, choice in item.items()}
    return {group: choice for group, choice in chosen.items() if _is_group(group)}


def mirror(group: str) -> None:
    """Makes every part of a group selectable (``strategy=typiclust``) and typed, without YAML.

    A name with a YAML recipe is left alone: Hydra would merge both.
    """
    registry = registry_of(group)
    for name in set(registry) - recipes_of(group):
        if _MIRRORED.get((group, name)) is registry.get(name):
            continue
        _MIRRORED[group, name] = registry.get(name)
        node = schema(registry, name, COMMON.get(group, {}))
        ConfigStore.instance().store(
            group=group, name=name, node=node, package=GROUPS[group].package
        )


def schema(
    registry: Registry, name: str, common: Mapping[str, tuple[Any, Any]] | None = None
) -> Any:
    """The config node of a part: its name and its hyperparameters with types and defaults."""
    try:
        factory = registry[name]
    except BrokenPlugin:  # said when the part is built; the others stay usable
        return {"name": name}
    fields: list[tuple] = [("name", str, dataclasses.field(default=name))]
    for key, (annotation, default) in {**hyperparameters(factory), **(common or {})}.items():
        value = list(default) if isinstance(default, tuple) else default
        fields.append((key, _config_type(annotation), _field(value)))
    return dataclasses.make_dataclass(f"{name}_config", fields)


def build(
    registry: Registry, node: Mapping[str, Any], *, at: str | None = None, **objects: object
) -> Any:
    """Builds the part that a config node describes.

    Parts speak of their own parameters (``l2=-1: must be positive``); the message gets the place of
    the node in front (``classifier.l2=-1: must be positive``).

    Args:
        registry: Where the part is looked up.
        node: ``name`` and hyperparameters.
        at: Key of the node in the config; by default that of the registry's group.
        objects: What the run can offer (``num_classes``, ``dataset_path`` …); the factory gets those
            that it takes.

    Raises:
        UserError: The name or a key is unknown, the part needs what the run cannot offer, or it
            refuses a value.
    """
    at = _place(registry) if at is None else at
    options = {
        key: tuple(value) if isinstance(value, list) else value for key, value in node.items()
    }
    name = str(options.pop("name"))
    try:
        parameters = inspect.signature(registry[name]).parameters
    except UnknownName as error:
        raise placed(error, at, options, name) from error
    offered = {key: value for key, value in objects.items() if key in parameters}
    missing = sorted(_required(parameters) - {*offered, *options})
    if missing:
        raise UserError(f"{at}={name} needs '{missing[0]}', which no run of this kind offers")
    try:
        return registry.build(name, **{**offered, **options})
    except (ValueError, UserError) as error:
        raise placed(error, at, options, name) from error


def placed(
    error: Exception, at: str, options: Mapping[str, Any], name: str | None = None
) -> UserError:
    """The error of a part in the words of the config; a user's error stays of its class.

    Args:
        error: ``k=0: must be …``, where ``k`` may be one of the options, or an option of an option.
        at: Key of the node in the config.
        options: What the part was built from.
        name: Name of the part, for messages about none of its options.
    """
    message = " ".join(str(error).split())
    about = _about(message, options)
    if isinstance(error, UnknownName):
        message = f"{_unknown_at(message, at, {**options, 'name': name})}: {message}"
    elif about is not None:
        message = f"{at}.{about}{message}"
    elif not isinstance(error, UserError):
        message = f"{at}={name}: {message}" if name else f"{at}: {message}"
    if not isinstance(error, UserError):
        return UserError(message)
    error.args = (message,)
    return error


def plain(config: Any) -> Any:
    """A config as plain dicts and lists, interpolations resolved (a DictConfig must not travel)."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _is_group(group: str) -> bool:
    return group in GROUPS or ("/" not in group and (CONFIGS / group).is_dir())


def _place(registry: Registry) -> str:
    for group in GROUPS.values():
        if group.module == registry.package:
            return group.package
    return registry.kind


def _required(parameters: Mapping[str, inspect.Parameter]) -> set[str]:
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        key
        for key, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in open_ended
    }


def _unknown_at(message: str, at: str, options: Mapping[str, Any]) -> str:
    """The option that gave the name that no part carries."""
    for key, value in options.items():
        if f"'{value}'" in message:
            return f"{at}.{key}={value}"
    return at


def _about(message: str, options: Mapping[str, Any]) -> str | None:
    """Path to the option of which a message speaks: empty, or that of the mapping that holds it."""
    begin = re.match(r"[\w.]+(?==)", message)
    if begin is None:
        return None
    key, *_ = begin[0].split(".")
    if key in options:
        return ""
    for outer, value in options.items():
        if isinstance(value, Mapping) and (inner := _about(message, value)) is not None:
            return f"{outer}.{inner}"
    return None


def _config_type(annotation: Any) -> Any:
    """The type that OmegaConf can check; ``Any`` where it knows none."""
    if annotation in SCALARS:
        return annotation
    if get_origin(annotation) is Literal:
        return str if all(isinstance(choice, str) for choice in get_args(annotation)) else Any
    if get_origin(annotation) in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        return inner[0] | None if len(inner) == 1 and inner[0] in SCALARS else Any
    return Any


def _field(value: Any) -> Any:
    if isinstance(value, list | dict):
        return dataclasses.field(default_factory=lambda: value)
    return dataclasses.field(default=value)
