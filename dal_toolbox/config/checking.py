"""A composed config: everything in it that can be checked without data is checked here."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dal_toolbox.config.keys import MAINS
from dal_toolbox.config.parts import GROUPS, groups_of, plain, registry_of
from dal_toolbox.config.trying import try_part, try_pretraining
from dal_toolbox.errors import UserError

RESOLVER = re.compile(r"(?<!\\)\$\{[^}]*:")


def examine(config: DictConfig, config_name: str) -> dict[str, Any]:
    """The config as plain dict, with every value checked.

    Raises:
        UserError: One line that begins with the key.
    """
    values = _resolved(config)
    for group, default in groups_of(config_name).items():
        _check_choice(values, group, required=default is not None)
    for name, key in MAINS[config_name].keys.items():
        node, leaf = _parent(values, name)
        if leaf in node:
            try:
                node[leaf] = key.checked(name, node[leaf])
            except ValueError as error:
                raise UserError(str(error)) from error
    for group in groups_of(config_name):
        if group in GROUPS and values.get(GROUPS[group].package) is not None:
            try_part(group, values[GROUPS[group].package])
    _check_sources(values)
    if config_name == "ssl":
        try_pretraining(values)
    return values


def _resolved(config: DictConfig) -> dict[str, Any]:
    for key, value in _strings(OmegaConf.to_container(config, resolve=False)):
        if RESOLVER.search(value):
            raise UserError(
                f"{key}={value}: the config of a run is kept, and must not hold what a resolver "
                "reads elsewhere; let the shell insert the value"
            )
        if value == "???":
            raise UserError(f"{key}=???: give a value")
        try:
            OmegaConf.select(config, key)
        except (OmegaConfBaseException, RecursionError) as error:
            raise UserError(f"{key}={value}: {str(error).splitlines()[0]}") from error
    try:
        return plain(config)
    except (OmegaConfBaseException, RecursionError) as error:
        raise UserError(" ".join(str(error).split("\n")[0].split())) from error


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, f"{path}[{number}]")
    elif isinstance(value, str):
        yield path, value


def _check_choice(values: Mapping[str, Any], group: str, *, required: bool) -> None:
    package = GROUPS[group].package if group in GROUPS else group
    node = values.get(package)
    if node is None and not required:
        return
    if not isinstance(node, Mapping) or (group in GROUPS and "name" not in node):
        choices = ", ".join(registry_of(group)) if group in GROUPS else ""
        raise UserError(f"{group}={node}: choose one{': ' if choices else ''}{choices}")


def _check_sources(values: Mapping[str, Any]) -> None:
    """Checks that weights and features that a run starts from exist."""
    source = values.get("features", "encoder")
    if source not in ("encoder", "raw", "untrained") and not Path(source).exists():
        raise UserError(f"features={source}: no folder or file; give one, or encoder, raw")
    paths = {"encoder.checkpoint": (values.get("encoder") or {}).get("checkpoint")}
    paths["encoder_checkpoint"] = values.get("encoder_checkpoint")
    for key, path in paths.items():
        starts = path is not None and source in ("encoder", "untrained")
        if starts and not (path and Path(path).exists()):
            raise UserError(
                f"{key}={path}: no such file or folder; give the run folder of "
                "experiments/ssl/main.py, or a file of weights"
            )


def _parent(values: Any, name: str) -> tuple[Any, str]:
    *path, leaf = name.split(".")
    for number, key in enumerate(path, start=1):
        values = values.get(key, {})
        if not isinstance(values, dict):
            raise UserError(f"{'.'.join(path[:number])}={values}: must be a mapping of keys")
    return values, leaf
