"""The command line before Hydra sees it: aliases, and mistakes in one plain line."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dal_toolbox.config.checking import examine
from dal_toolbox.config.grammar import parse, quoted, with_quotes
from dal_toolbox.config.parts import CONFIGS, GROUPS, recipes_of, registry_of
from dal_toolbox.errors import UserError

# Spellings of the documents and of habit, and the key that is meant.
PREFIXES = {"ssl_model.": "model.", "+experiment=": "experiment="}
KEYS = {
    "model.val_batch_size": "model.predict_batch_size",
    "dataset.color_distortion_strength": "color_distortion_strength",
}
MOST = 1000  # values of one key that are checked beforehand


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
            expanded.append(with_quotes(keys.get(key, key) + equals + value))
    return expanded


def _select_encoder(key: str, value: str) -> list[str]:
    known = recipes_of("encoder") | set(registry_of("encoder"))
    own = all(name in known for name in value.split(","))
    if own or (key == "encoder" and not _is_timm_model(value)):
        return [f"encoder={value}"]
    return ["encoder=timm", f"encoder.model={value}"]


def _is_timm_model(value: str) -> bool:
    from dal_toolbox.encoders.base import is_timm_model

    return all(is_timm_model(name) for name in value.split(","))


def check(overrides: Sequence[str], config_name: str, *, sweep: bool = True) -> None:
    """Finds the user's mistakes before the run: unknown choice, unknown key, wrong type or value.

    Checks the first job of a sweep, and each further value in its place.

    Args:
        overrides: The command line without flags and aliases.
        config_name: Name of the primary config.
        sweep: Whether a key may have several values.

    Raises:
        UserError: One line that names the key and what is allowed.
    """
    parsed = parse(overrides)
    groups = [item for item in parsed if _is_group(item)]
    for item in parsed:
        _check_form(item, sweep)
    for item in groups:
        _check_name(item)
    values = [item for item in parsed if item not in groups and not _is_hydra(item)]
    try:
        for chosen in _jobs(groups):
            defaults = _composed(config_name, tuple(chosen))
            for item in values:
                _check_value(item, defaults)
            for job in _assignments(values):
                examine(_assigned(defaults, job), config_name)
    except MissingConfigException as error:
        raise UserError(_missing_choice(error)) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(_first_line(error)) from error


def swept(overrides: Sequence[str]) -> dict[str, int | None]:
    """The keys that a sweep gives several values, and how many; None where Hydra alone knows.

    >>> swept(["strategy=random,margin", "random_seed=range(0,3)", "query_size=5"])
    {'strategy': 2, 'random_seed': 3}
    """
    found = [item for item in parse(overrides) if item.is_sweep_override()]
    return {item.key_or_group: _count(item) for item in found}


def _check_form(item: Override, sweep: bool) -> None:
    text = item.input_line
    if (item.is_add() or item.is_delete()) and not _is_hydra(item):
        verb = "adds a key, which nothing reads" if item.is_add() else "removes a key"
        raise UserError(f"{text}: {verb}; write key=value for a key of the config")
    if item.is_sweep_override() and not sweep:
        raise UserError(
            f"{text} gives several values: add -m to run each of them, or put a value that holds "
            f"commas in quotes: {quoted(item.key_or_group, str(text).partition('=')[2])}"
        )


def _check_name(item: Override) -> None:
    group = item.key_or_group.partition("/")[0]
    if item.value() is None:
        raise UserError(f"{group}=null: leave it out for the default, or name one")
    for value in islice(_values(item), MOST):
        if not isinstance(value, str) or "$" in value or not value:
            names = set(registry_of(group)) if group in GROUPS else set()
            known = sorted(names | recipes_of(item.key_or_group), key=str.lower)
            raise UserError(
                f"{item.input_line}: give one name; no {group} '{value}'. Known: {', '.join(known)}"
            )


@lru_cache(maxsize=64)
def _composed(config_name: str, choices: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(config_name, overrides=list(choices))


def _assignments(items: Sequence[Override]) -> Iterator[list[tuple[Override, Any]]]:
    """Values of the first job, then with each further value of a sweep in its place."""
    values = {index: list(islice(_values(item), MOST)) for index, item in enumerate(items)}
    first = [(item, values[index][0]) for index, item in enumerate(items) if values[index]]
    yield first
    for index, item in enumerate(items):
        for value in values[index][1:]:
            yield [(other, value if other is item else kept) for other, kept in first]


def _assigned(defaults: DictConfig, values: Sequence[tuple[Override, Any]]) -> DictConfig:
    config = defaults.copy()
    for item, value in values:
        try:
            OmegaConf.update(config, item.key_or_group, value, merge=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{item.input_line}: {_first_line(error)}") from error
    return config


def _values(item: Override) -> Iterator[Any]:
    if not item.is_sweep_override():
        yield item.value()
    elif not _is_pattern(item):  # Hydra resolves patterns of names
        yield from item.sweep_iterator()


def _is_hydra(item: Override) -> bool:
    return item.key_or_group.startswith(("hydra.", "hydra/"))


def _is_pattern(item: Override) -> bool:
    return isinstance(item.value(), Glob)


def _count(item: Override) -> int | None:
    return None if _is_pattern(item) else sum(1 for _ in item.sweep_iterator())


def _is_group(item: Override) -> bool:
    name = item.key_or_group.split("@")[0]
    return name in GROUPS or (CONFIGS / name).is_dir()


def _jobs(groups: Sequence[Override]) -> Iterator[list[str]]:
    """Group overrides of the first job, then with each further choice of a sweep in its place."""
    choices = {str(item.input_line): _choices(item) for item in groups}
    first = {text: found[0] for text, found in choices.items() if found}
    yield list(first.values())
    for text, found in choices.items():
        for choice in found[1:]:
            yield list({**first, text: choice}.values())


def _choices(item: Override) -> list[str]:
    if _is_pattern(item):
        return []
    if not item.is_sweep_override():
        return [str(item.input_line)]
    return [f"{item.key_or_group}={value}" for value in item.sweep_string_iterator()]


def _check_value(item: Override, defaults: DictConfig) -> None:
    key = item.key_or_group
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(defaults, parent) if parent else defaults
    if not OmegaConf.is_dict(node) or leaf not in node:
        raise UserError(_unknown_key(key, defaults))
    for value in islice(_values(item), MOST):
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
        hint = "" if isinstance(default, dict) else f" (default {default!r})"
        raise UserError(f"{key}={value}: expected {_kind(default)}{hint}")


def _fits(value: Any, default: Any) -> bool:
    if default is None or value is None:
        return not isinstance(default, dict)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, str):
        return not isinstance(value, list | dict)
    return isinstance(value, type(default))


def _kind(default: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
    if isinstance(default, dict):
        return "a mapping of keys"
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
    if group.startswith("dataset/"):  # a path: somebody's folder
        hint = " A folder of images is dataset=folder dataset.root=<folder>."
    return f"no {group.split('/')[0]} '{name}'.{hint} Known: {', '.join(error.options or [])}"


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].split())
