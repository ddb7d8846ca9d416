"""The command line before Hydra sees it: aliases, plugins, and mistakes in one plain line."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dal_toolbox.config.parts import CONFIGS, GROUPS, registry_of
from dal_toolbox.errors import UserError

# Spellings of the documents and of habit, and the key that is meant.
PREFIXES = {"ssl_model.": "model.", "+experiment=": "experiment="}
KEYS = {
    "model.val_batch_size": "model.predict_batch_size",
    "dataset.color_distortion_strength": "color_distortion_strength",
}


def expand_aliases(arguments: Sequence[str], config_name: str) -> list[str]:
    """Rewrites documented spellings: ``model.encoder=`` and ``encoder=`` take any model of timm.

    Each main has experiments of its own: ``experiment=x`` is ``configs/experiment/<main>/x.yaml``.

    >>> expand_aliases(["ssl_model.val_batch_size=64", "experiment=quickstart", "-m"], "ssl")
    ['-m', 'model.predict_batch_size=64', 'experiment/ssl=quickstart']
    """
    keys = {**KEYS, "experiment": f"experiment/{config_name}"}
    sweep = [argument for argument in arguments if argument in ("-m", "--multirun")]
    expanded = ["-m"] if sweep else []  # Hydra wants its flags in front
    for argument in arguments:
        if argument in sweep:
            continue
        for alias, meant in PREFIXES.items():
            if argument.startswith(alias):
                argument = meant + argument.removeprefix(alias)
        key, equals, value = argument.partition("=")
        if key in ("encoder", "model.encoder") and value:
            expanded += _select_encoder(key, value)
        else:
            expanded.append(keys.get(key, key) + equals + value)
    return expanded


def _select_encoder(key: str, value: str) -> list[str]:
    recipes = {path.stem for path in (CONFIGS / "encoder").glob("*.yaml")}
    known = recipes | set(registry_of("encoder"))
    own = all(name in known for name in value.split(","))
    if own or (key == "encoder" and not _is_timm_model(value)):
        return [f"encoder={value}"]
    return ["encoder=timm", f"encoder.model={value}"]


def _is_timm_model(value: str) -> bool:
    from dal_toolbox.encoders.base import is_timm_model

    return all(is_timm_model(name) for name in value.split(","))


def load_plugins(arguments: Sequence[str], config_name: str) -> None:
    """Imports the modules of ``plugins``: dotted names, or paths of Python files.

    They are read from the command line, the primary config and the experiment file, because they
    must be imported before the config is composed: they add choices to it.

    Raises:
        UserError: A plugin cannot be imported.
    """
    sys.path.insert(0, str(Path.cwd()))
    for plugin in _plugins(arguments, config_name):
        try:
            _import_file(Path(plugin)) if plugin.endswith(".py") else importlib.import_module(
                plugin
            )
        except Exception as error:
            raise UserError(
                f"plugin '{plugin}' cannot be imported: {type(error).__name__}: {error}"
            ) from error


def _import_file(path: Path) -> None:
    path = path.resolve()
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", "") == str(path):
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)


def _plugins(arguments: Sequence[str], config_name: str) -> list[str]:
    given = dict(argument.partition("=")[::2] for argument in arguments)
    if "plugins" in given:
        return list(OmegaConf.create(f"plugins: {given['plugins']}").plugins)
    group = f"experiment/{config_name}"
    files = [CONFIGS / f"{config_name}.yaml", CONFIGS / group / f"{given.get(group)}.yaml"]
    loaded = (dict(OmegaConf.load(file)) for file in files if file.exists())
    return [name for config in loaded for name in config.get("plugins") or []]


def check(overrides: Sequence[str], config_name: str) -> None:
    """Finds the user's mistakes before the run: unknown choice, unknown key, wrong type.

    The config is composed with the group choices alone; each remaining override is then held against
    the default that it replaces.

    Raises:
        UserError: One line that names the key and what is allowed.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        groups = [item for item in parsed if _is_group(item)]
        for lines in _jobs(groups):
            with initialize_config_dir(str(CONFIGS), version_base="1.3"):
                defaults = compose(config_name, overrides=lines)
            for item in parsed:
                if item not in groups and not item.is_add() and not item.is_delete():
                    _check_value(item, defaults)
    except MissingConfigException as error:
        raise UserError(_missing_choice(error)) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(_first_line(error)) from error


def swept_keys(overrides: Sequence[str]) -> list[str]:
    """The keys that a sweep gives several values.

    >>> swept_keys(["strategy=random,margin", "random_seed=range(0,3)", "query_size=5"])
    ['strategy', 'random_seed']
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [item.key_or_group for item in parsed if item.is_sweep_override()]


def _is_group(item: Override) -> bool:
    name = item.key_or_group.split("@")[0]
    return name in GROUPS or (CONFIGS / name).is_dir()


def _jobs(groups: Sequence[Override]) -> Iterator[list[str]]:
    """Group overrides of the first job, then with each further choice of a sweep in its place."""
    first = {item.input_line: _choices(item)[0] for item in groups}
    yield list(first.values())
    for item in groups:
        for choice in _choices(item)[1:]:
            yield list({**first, item.input_line: choice}.values())


def _choices(item: Override) -> list[str]:
    if not item.is_sweep_override():
        return [str(item.input_line)]
    return [f"{item.key_or_group}={value}" for value in item.sweep_string_iterator()]


def _check_value(item: Override, defaults: DictConfig) -> None:
    key = item.key_or_group
    if key.startswith("hydra."):
        return
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(defaults, parent) if parent else defaults
    if not OmegaConf.is_dict(node) or leaf not in node:
        raise UserError(_unknown_key(key, defaults))
    values = list(item.sweep_iterator()) if item.is_sweep_override() else [item.value()]
    for value in values:
        if not isinstance(value, str) or "${" not in value:
            _check_type(key, value, node, leaf)


def _check_type(key: str, value: Any, node: DictConfig, leaf: str) -> None:
    default = OmegaConf.to_container(node, resolve=False).get(leaf)  # type: ignore[union-attr]
    default = node[leaf] if isinstance(default, str) and "${" in default else default
    try:
        node = node.copy()
        OmegaConf.set_struct(node, False)
        node[leaf] = value  # a mirrored node knows its types, also where the default is None
    except OmegaConfBaseException:
        fits = False
    else:
        fits = _fits(value, default)
    if not fits:
        raise UserError(f"{key}={value}: expected {_kind(default)} (default {default!r})")


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, str):
        return not isinstance(value, list | dict)
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
    return names.get(type(default), f"a value like {default!r}")


def _unknown_key(key: str, defaults: DictConfig) -> str:
    known = sorted(_leaves(defaults))
    near = get_close_matches(key, known, n=1)
    parent = key.rpartition(".")[0]
    siblings = [name for name in known if name.rpartition(".")[0] == parent] or known
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"no key '{key}' in the config.{hint} Known: {', '.join(siblings)}"


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from _leaves(child, f"{prefix}{key}.")
        yield f"{prefix}{key}"


def _missing_choice(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file or "").rpartition("/")
    if not group:
        return _first_line(error)
    near = get_close_matches(name, error.options or [], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"no {group.split('/')[0]} '{name}'.{hint} Known: {', '.join(error.options or [])}"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())
