"""What tells runs apart: every key of the config of a run, and every hyperparameter of a strategy."""

import copy

import pytest
from hydra import compose, initialize_config_dir

from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis.settings import NO_SETTING, describe, settings
from dal_toolbox.config.parts import CONFIGS, GROUPS, hyperparameters, mirror, plain
from dal_toolbox.runs import PLACES


@pytest.fixture(scope="module")
def config():
    """The config of a run, as ``config_resolved.yaml`` has it."""
    for group in ("dataset", "encoder", "strategy", "classifier", "oracle", "initial"):
        mirror(group)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return plain(compose("active_learning", overrides=["encoder=small", "strategy=typiclust"]))


def leaves(node, path=()):
    if not isinstance(node, dict):
        yield path
        return
    for key, value in node.items():
        yield from leaves(value, (*path, key))


def changed(config, path, value="another"):
    other = copy.deepcopy(config)
    node = other
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return other


def test_every_key_is_a_setting_a_strategy_or_a_place(config):
    seen = {"setting": 0, "strategy": 0, "nothing": 0}
    for path in leaves(config):
        other = changed(config, path)
        split = len(set(settings([config, other]))) == 2
        rows = len(set(describe([config["strategy"], other["strategy"]]))) == 2
        expected = "strategy" if path[0] == "strategy" else "nothing" if path[0] in NO_SETTING else "setting"  # fmt: skip
        assert (split, rows) == (expected == "setting", expected == "strategy"), path
        seen[expected] += 1
        if split:
            assert path[0] in settings([config, other])[1]
    assert seen["setting"] > 20
    assert seen["strategy"] > 3
    assert seen["nothing"] == len(NO_SETTING)


def test_only_places_the_seed_and_the_length_are_no_setting():
    assert {*PLACES, "plugins", "random_seed", "num_cycles"} == NO_SETTING


def test_a_key_that_one_run_lacks_is_a_setting(config):
    old = {key: value for key, value in config.items() if key != "precision"}
    assert settings([config, old]) == ["precision=auto", "precision=(unset)"]


@pytest.mark.parametrize(
    "features, used",
    [
        ("encoder", {"dataset", "encoder", "encoder_checkpoint"}),
        ("raw", {"dataset"}),
        ("./x", set()),
    ],
)
def test_parts_that_the_features_do_not_come_from_do_not_count(config, features, used):
    config = {**config, "features": features}
    for key in ("dataset", "encoder", "encoder_checkpoint"):
        other = changed(config, (key,), {"name": "another"})
        assert (len(set(settings([config, other]))) == 2) == (key in used)
    other = {**config, "features": "other"}
    assert settings([config, other])[0].endswith(f"features={features}")


@pytest.mark.parametrize("group", ["dataset", "encoder", "classifier", "oracle", "initial"])
def test_parts_of_a_group_are_named_and_not_spelled_out(config, group):
    others = [changed(config, (group,), {"name": name, "own": 1}) for name in ("a", "b")]
    assert settings([*others, *others]) == [f"{group}=a", f"{group}=b"] * 2


def test_every_hyperparameter_of_every_strategy_makes_rows():
    count = 0
    for name in STRATEGIES:
        node = {key: default for key, (_, default) in hyperparameters(STRATEGIES[name]).items()}
        for key in node:
            texts = describe([{"name": name, **node}, {"name": name, **node, key: "x y"}])
            assert texts[1] == f'{name} {key}="x y"'
            assert texts[0].startswith(f"{name} {key}=")
            count += 1
    assert count > 40
    assert set(GROUPS) >= {"strategy"}


VALUES = [0, 1, -1, 0.5, 1e300, True, False, None, "1", "true", "null", "NaN", "a", "a b", "a,b", 'a"b', "a=b",
          "", "(unset)", [], [1], ["1"], [1, 2], {}, {"a": 1}, {"a": "1"}, {"b": 1}, "{}", "[]", "a\nb", float("nan"),
          float("inf"), "inf"]  # fmt: skip


def test_different_values_have_different_texts():
    assert len(set(describe([{"name": "x", "o": value} for value in VALUES]))) == len(VALUES)
    assert len(set(settings([{"o": value} for value in [*VALUES]] + [{}]))) == len(VALUES) + 1


def test_equal_numbers_are_equal():
    assert len(set(describe([{"name": "x", "power": power} for power in (1, 1.0)]))) == 1
