"""Registries as config groups: a parameter with a default is a hyperparameter, hence a config key."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from dal_toolbox.arguments import one_of
from dal_toolbox.errors import UserError
from dal_toolbox.registry import BrokenPlugin, Registry

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


def registry_of(group: str) -> Registry:
    """The registry behind a config group."""
    module, name, _ = GROUPS[group]
    return getattr(importlib.import_module(module), name)


def mirror(group: str) -> None:
    """Makes every part of a group selectable (``strategy=typiclust``) and typed, without YAML.

    A name with a YAML recipe is left alone: Hydra would merge both.
    """
    registry = registry_of(group)
    recipes = {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    for name in set(registry) - recipes:
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


def hyperparameters(factory: Callable) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of every parameter that has a default."""
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    return {
        key: (hints.get(key, Any), parameter.default)
        for key, parameter in inspect.signature(factory).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def build(
    registry: Registry, node: Mapping[str, Any], *, at: str | None = None, **objects: object
) -> Any:
    """Builds the part that a config node describes.

    Parts speak of their own parameters (``l2=-1: must be positive``); the message of a ``ValueError``
    gets the place of its node in front (``classifier.l2=-1: must be positive``).

    Args:
        registry: Where the part is looked up.
        node: ``name`` and hyperparameters.
        at: Key of the node in the config; by default that of the registry's group.
        objects: What the run can offer (``num_classes``, ``dataset_path`` …); the factory gets those
            that it takes.

    Raises:
        UserError: The name, a key or a choice is unknown, or the part refuses a value.
    """
    at = _place(registry) if at is None else at
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in node.items()
    }
    name = str(options.pop("name"))
    parameters = inspect.signature(registry[name]).parameters
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise UserError(
            f"{registry.kind} '{name}' has no parameter '{unknown[0]}'. Known: "
            f"{', '.join(hyperparameters(registry[name])) or 'none'}"
        )
    offered = {key: value for key, value in objects.items() if key in parameters}
    try:
        _check_choices(registry[name], options)
        return registry.build(name, **{**offered, **options})
    except (ValueError, TypeError) as error:
        raise _with_place(error, at, name, parameters) from error


def plain(config: Any) -> Any:
    """A config as plain dicts and lists, interpolations resolved (a DictConfig must not travel)."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _place(registry: Registry) -> str:
    for group in GROUPS.values():
        if group.module == registry.package:
            return group.package
    return registry.kind


def _with_place(error: Exception, at: str, name: str, parameters: Collection[str]) -> UserError:
    """The error of a part, in the words of the config: the same class where it is a user's error."""
    message = " ".join(str(error).split())
    speaks_of = message.partition("=")[0]
    message = f"{at}.{message}" if speaks_of in parameters else f"{at}={name}: {message}"
    if isinstance(error, UserError) and speaks_of not in parameters:
        return error
    return type(error)(message) if isinstance(error, UserError) else UserError(message)


def _check_choices(factory: Callable, options: Mapping[str, Any]) -> None:
    for key, (annotation, _) in hyperparameters(factory).items():
        choices = get_args(annotation) if get_origin(annotation) is Literal else ()
        if choices and key in options and options[key] not in choices:
            one_of(choices, **{key: options[key]})


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
