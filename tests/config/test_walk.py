"""Every key of every main, and every hyperparameter of every part, with values that nobody should give."""

import pytest
from omegaconf import OmegaConf

from dal_toolbox.config.checking import examine
from dal_toolbox.config.keys import MAINS
from dal_toolbox.config.launch import prepare
from dal_toolbox.config.overrides import _composed, _leaves
from dal_toolbox.config.parts import GROUPS, groups_of, mirror, registry_of
from dal_toolbox.errors import UserError
from dal_toolbox.hyperparameters import hyperparameters

STRANGE = (
    "0", "-1", "0.5", "1e400", "9223372036854775808", "9223372036854775807", "nan", "null", "nonesuch",
    "true", "[]", "[1]", "[x,nan]", "{a:1}", "", "???", "${x}", "${oc.env:HOME}",
)  # fmt: skip
# What no key takes; a string may be any of the first three.
NUMBERS = ("9223372036854775808", "1e400", "nan")
NEVER = ("[x,nan]", "{a:1}", "???", "${x}", "${oc.env:HOME}")
# One option of a part that combines others, and its value.
NESTED = {
    "strategy=stochastic": "strategy.base_options",
    "strategy=subsample": "strategy.base_options",
    "strategy=switch": "strategy.first_options",
}


def keys_of(main):
    for group in groups_of(main):
        if group in GROUPS:
            mirror(group)
    return list(_leaves(_composed(main, ())))


def outcome(arguments, main):
    """The one line of a refusal, or None; every other exception fails the test."""
    try:
        prepare(arguments, main)
    except UserError as error:
        line = str(error)
        assert line
        assert "\n" not in line
        return line
    return None


@pytest.mark.parametrize("main", MAINS)
def test_every_key_is_declared_and_its_default_is_right(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output" / "active_learning").mkdir(parents=True)
    keys_of(main)
    examine(_composed(main, ()), main)
    of_parts = {GROUPS[group].package for group in groups_of(main) if group in GROUPS}
    for key in keys_of(main):
        node = OmegaConf.select(_composed(main, ()), key)
        if OmegaConf.is_config(node) or key in MAINS[main].keys:
            continue
        part = key.split(".")[0]
        assert part in of_parts or f"experiment/{main}" == key, f"{key} of {main} is not declared"


@pytest.mark.parametrize("main", MAINS)
def test_no_value_of_a_key_ends_in_a_traceback(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output" / "active_learning").mkdir(parents=True)
    defaults = OmegaConf.to_container(_composed(main, ()), resolve=False)
    keys = keys_of(main)
    accepted, unclear = set(), []
    for key in keys:
        for value in STRANGE:
            line = outcome([f"{key}={value}"], main)
            if line is None:
                accepted.add((key, value))
            elif not any(
                part in line
                for part in (key.split(".")[0], key.partition(".")[2], "plugin")
                if part
            ):
                unclear.append(f"{key}={value}: {line}")
    assert not unclear, "\n".join(unclear)
    default = {key: OmegaConf.select(OmegaConf.create(defaults), key) for key in keys}
    text = {key for key in keys if isinstance(default[key], str) or default[key] is None}
    wrong = {item for item in accepted if item[1] in NEVER}
    wrong |= {(key, value) for key, value in accepted if value in NUMBERS and key not in text}
    wrong -= {(key, NUMBERS[0]) for key in keys if isinstance(default[key], float)}
    assert not wrong, wrong


@pytest.mark.parametrize("group", GROUPS)
def test_no_hyperparameter_of_any_part_ends_in_a_traceback(group):
    main, package = ("ssl" if group == "ssl_model" else "active_learning"), GROUPS[group].package
    keys_of(main)
    tried = 0
    for name in registry_of(group):
        for key, (annotation, default) in hyperparameters(registry_of(group)[name]).items():
            for value in STRANGE:
                line = outcome([f"{group}={name}", f"{package}.{key}={value}"], main)
                tried += 1
                told = line is not None and f"{package}.{key}" in line
                if value in NEVER or (value == "nan" and annotation in (int, float)):
                    assert told, f"{name}: {key}={value} (default {default}): {line}"
    assert tried or group in ("oracle", "initial")


@pytest.mark.parametrize("part, options", NESTED.items())
@pytest.mark.parametrize("given", ["{nonesuch:1}", "{nan:nan}", "3", "[1]", "${x}"])
def test_options_of_options_are_named_with_their_place(part, options, given):
    keys_of("active_learning")
    line = outcome([part, f"{options}={given}"], "active_learning")
    assert line is not None
    assert line.startswith(options) or (options.split(".")[1] in line or "nonesuch" in line), line
