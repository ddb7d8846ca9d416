"""Registries as typed config groups, and parts built from nodes."""

from typing import Literal

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from dal_toolbox.config.parts import build, hyperparameters, schema
from dal_toolbox.errors import UserError
from dal_toolbox.registry import Registry

PARTS = Registry("part")


@PARTS.register("full")
class Full:
    def __init__(
        self,
        num_classes: int,
        *,
        k: int = 20,
        scale: tuple[float, float] = (0.1, 1.0),
        limit: int | None = None,
        mode: Literal["a", "b"] = "a",
        rate: float = 0.5,
    ) -> None:
        self.values = (num_classes, k, scale, limit, mode, rate)


def node(name="full"):
    return OmegaConf.structured(schema(PARTS, name))


def test_hyperparameters_are_those_with_a_default():
    assert list(hyperparameters(Full)) == ["k", "scale", "limit", "mode", "rate"]


def test_schema_mirrors_the_constructor():
    assert OmegaConf.to_container(node()) == {
        "name": "full", "k": 20, "scale": [0.1, 1.0], "limit": None, "mode": "a", "rate": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("key, value", [("k", "many"), ("rate", "fast"), ("limit", "none")])
def test_schema_knows_types(key, value):
    config = node()
    with pytest.raises(ValidationError):
        config[key] = value


def test_build_gets_hyperparameters_and_the_objects_that_it_takes():
    part = build(PARTS, OmegaConf.to_container(node()), num_classes=7, image_size=32)
    assert part.values == (7, 20, (0.1, 1.0), None, "a", 0.5)


def test_unknown_parameter_lists_the_known():
    with pytest.raises(UserError, match="part 'full' has no parameter 'q'. Known: k, scale"):
        build(PARTS, {"name": "full", "q": 1}, num_classes=2)


def test_wrong_choice_lists_the_choices():
    with pytest.raises(UserError, match="mode='c': choose one of a, b"):
        build(PARTS, {"name": "full", "mode": "c"}, num_classes=2)
