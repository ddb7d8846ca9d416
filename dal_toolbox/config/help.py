"""``--help``: every key of a main, from its declaration or from the docstring of its part."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_origin

from dal_toolbox.config.keys import MAINS, Key
from dal_toolbox.config.parts import (
    COMMON,
    CONFIGS,
    GROUPS,
    groups_of,
    load_yaml,
    primary,
    recipes_of,
    registry_of,
)
from dal_toolbox.hyperparameters import describe, hyperparameters

WIDTH = 80
COMMON_HELP = {"checkpoint": "File of weights to start from."}


def help_text(config_name: str, overrides: Sequence[str] = ()) -> str:
    """Help for a main, or for the parts that are named.

    Args:
        config_name: Name of the primary config.
        overrides: ``strategy=margin`` asks for the keys of that part.

    Raises:
        UserError: There is no such part.
    """
    choices = dict(item.partition("=")[::2] for item in overrides)
    asked = {group: name for group, name in choices.items() if group in GROUPS and name}
    if asked:
        return "\n\n".join(_part_help(group, name) for group, name in asked.items())
    main = MAINS[config_name]
    command = f"python experiments/{config_name}/main.py"
    lines = [main.title, "", f"  {command} key=value …"]
    if groups := list(_groups(config_name)):
        lines += [
            f"  {command} -m key=a,b …",
            "      every combination of the values",
            f"  {command} --help group=part",
            "      the keys of a part",
            "",
            "Groups, with the part that is chosen by default:",
            *groups,
        ]
    lines += ["", "Keys, with their defaults:"]
    for name, key in main.keys.items():
        lines += _entry(name, _text(_default(config_name, name)), _described(key))
    if config_name == "ssl":
        lines += _optimizer_help(primary(config_name)["model"]["optimizer"])
    lines += ["", f"Examples: experiments/{config_name}/README.md"]
    return "\n".join(lines)


def arguments_of(factory: Callable) -> dict[str, str]:
    """Descriptions of arguments: of the docstring of a factory, of what it returns, of parents."""
    found: dict[str, str] = {}
    made = factory if inspect.isclass(factory) else factory.__annotations__.get("return")
    for owner in (factory, *(made.__mro__ if inspect.isclass(made) else ())):
        text = inspect.cleandoc(owner.__doc__ or "").partition("\nArgs:\n")[2]
        block = re.split(r"\n(?=\S)", text, maxsplit=1)[0]
        for entry in re.split(r"\n(?=    \S)", f"\n{block}"):
            name, colon, words = entry.strip().partition(":")
            if colon and name.isidentifier():
                found.setdefault(name, " ".join(words.split()))
    return found


def _groups(config_name: str) -> Iterator[str]:
    for group, chosen in groups_of(config_name).items():
        names = {*recipes_of(group), *(registry_of(group) if group in GROUPS else ())}
        yield from _entry(group, _text(chosen), ", ".join(sorted(names, key=str.lower)))
    if experiments := recipes_of(f"experiment/{config_name}"):
        yield from _entry("experiment", "null", ", ".join(sorted(experiments)))


def _part_help(group: str, name: str) -> str:
    recipe = CONFIGS / group / f"{name}.yaml"
    given = load_yaml(recipe) if recipe.exists() else {"name": name}
    factory = registry_of(group)[str(given.get("name", name))]
    lines = [f"{group}={name}", ""]
    summary = inspect.cleandoc(factory.__doc__ or "").partition("\nArgs:")[0].strip()
    for paragraph in summary.split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.replace("``", "").split()), WIDTH), ""]
    texts = {**_texts(group), **arguments_of(factory)}
    keys = {**hyperparameters(factory), **COMMON.get(group, {})}
    for key, (annotation, default) in keys.items():
        place, text = f"{GROUPS[group].package}.{key}", texts.get(key, "")
        if get_origin(annotation) is Literal:
            text += f" {describe(annotation).capitalize()}."
        lines += _entry(place, _text(given.get(key, default)), text.strip())
    if not keys:
        lines.append("It has no keys.")
    return "\n".join(lines).rstrip()


def _texts(group: str) -> dict[str, str]:
    """Descriptions of keys by other parts of the group, for those that say no more than "as there"."""
    texts = dict(COMMON_HELP)
    for factory in registry_of(group).values():
        texts = {**arguments_of(factory), **texts}
    return texts


def _default(config_name: str, name: str) -> Any:
    """The default of a key, in the primary config or in the recipe of its group."""
    group, *path = name.split(".")
    node: Any = primary(config_name)
    if group not in node and group in groups_of(config_name):
        node = {group: load_yaml(CONFIGS / group / f"{groups_of(config_name)[group]}.yaml")}
    for key in (group, *path):
        node = node[key]
    return node


def _described(key: Key) -> str:
    if get_origin(key.type) is Literal:
        return f"{key.help} {describe(key.type).capitalize()}."
    return key.help


def _optimizer_help(defaults: dict[str, Any]) -> Iterator[str]:
    from dal_toolbox.ssl.optimization import Optimization

    texts = arguments_of(Optimization)
    for key, value in defaults.items():
        yield from _entry(f"model.optimizer.{key}", _text(value), texts[str(key)])


def _entry(name: str, default: str, text: str) -> list[str]:
    head = f"  {name}={default}"
    if len(head) > WIDTH:
        head = f"  {name}"
    indent, text = " " * 6, text.replace("``", "")
    return [head, *textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
