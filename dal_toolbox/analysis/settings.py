"""What tells runs apart: the setting that a table is about, and the strategy that is a row of it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Keys that say where and how fast, but not what. The seed pairs runs, and the number of cycles only
# says how far a learning curve goes: it changes no point of it.
NO_SETTING = frozenset({
    "output_dir", "dataset_path", "feature_dir", "n_cpus", "overwrite", "plugins",
    "random_seed", "num_cycles",
})  # fmt: skip
FIRST = ("dataset", "classes", "features", "encoder", "encoder_checkpoint", "classifier",
         "initial", "num_initial", "query_size")  # fmt: skip
UNSET = object()


def settings(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which each config differs from the others, without strategy, seed and places.

    Equal texts mean equal settings.

    >>> runs = [{"classifier": {"name": name}, "random_seed": seed, "query_size": 5}
    ...         for seed, name in enumerate(["knn", "linear"])]
    >>> settings(runs)
    ['classifier=knn', 'classifier=linear']
    """
    idle = [_idle(config) for config in configs]
    parts: list[list[str]] = [[] for _ in configs]
    for key in _keys(configs):
        nodes = [
            UNSET if key in unused else config.get(key, UNSET)
            for config, unused in zip(configs, idle, strict=True)
        ]
        texts = describe(nodes)
        if len(set(texts)) == 1:
            continue
        for part, text, unused in zip(parts, texts, idle, strict=True):
            if key not in unused:
                part.append(f"{key}={text}")
    return [", ".join(part) for part in parts]


def describe(nodes: Sequence[Any]) -> list[str]:
    """The name of each part of a config, with the options in which parts of one name differ.

    Equal texts mean equal nodes.

    >>> power = [{"name": "sharp", "power": p, "base": "margin"} for p in (1, 4)]
    >>> describe([*power, {"name": "random"}])
    ['sharp power=1', 'sharp power=4', 'random']
    """
    options = [_flat(node) for node in nodes]
    names = [option.pop("name", option.pop("", "")) for option in options]
    families: dict[str, list[dict[str, str]]] = {}
    for name, option in zip(names, options, strict=True):
        families.setdefault(name, []).append(option)
    differing = {name: _differing(family) for name, family in families.items()}
    return [
        " ".join([name, *(f"{key}={option[key]}" for key in differing[name] if key in option)])
        for name, option in zip(names, options, strict=True)
    ]


def _idle(config: Mapping[str, Any]) -> set[str]:
    """Parts that the features do not come from where they are pixels, or files in a folder."""
    features = config.get("features")
    if features == "raw":
        return {"encoder", "encoder_checkpoint"}
    if isinstance(features, str) and "/" in features:
        return {"encoder", "encoder_checkpoint", "dataset"}
    return set()


def _keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    known = {str(key) for config in configs for key in config} - NO_SETTING - {"strategy"}
    return [key for key in FIRST if key in known] + sorted(known - set(FIRST))


def _differing(family: Sequence[Mapping[str, str]]) -> list[str]:
    keys = sorted({key for option in family for key in option})
    return [key for key in keys if len({option.get(key) for option in family}) > 1]


def _flat(node: Any, prefix: str = "") -> dict[str, str]:
    """Leaves of a node as texts; the key of a node without keys is empty."""
    if not isinstance(node, Mapping) or not node:
        return {prefix: _text(node)}
    flat: dict[str, str] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _text(value: Any) -> str:
    """A value as on a command line; different values have different texts."""
    if value is UNSET:
        return "(unset)"
    if isinstance(value, str) and _is_word(value):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _is_word(value: str) -> bool:
    """Whether a string needs no quotes to be told from a number, a truth value and null."""
    if not re.fullmatch(r"[\w./~+-]+", value) or value.lower() in ("null", "true", "false"):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False
