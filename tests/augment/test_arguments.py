"""Every parameter of every recipe, with values that nobody means: an error that names it, or views."""

import inspect
from dataclasses import fields

import pytest
import torch

from dal_toolbox.augment import RECIPES, BatchAugment, EvalTransform, View

VALUES = [0, -1, 10**30, 1e300, float("nan"), float("inf"), None, "many", True, [], [0.5], [1, 0],
          [float("nan"), 1.0], [-1, 2], [1, 10**30], [[0.1, 0.2], 0.3], {"a": 1}, 0.5]  # fmt: skip
RGB = {"size": 8, "mean": (0.5,) * 3, "std": (0.25,) * 3}
IMAGES = torch.randint(
    0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def names_of(factory):
    parameters = inspect.signature(factory).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]


def refused_or_good(make, name, value):
    """Whether the value is refused; what is made of another value must work."""
    try:
        augment = make()
    except ValueError as error:
        message = str(error)
        assert message.startswith((f"{name}=", "mean=")), message  # mean: not as long as std
        assert "\n" not in message
        return True
    assert augment.seed(0)(IMAGES).isfinite().all(), f"{name}={value!r} makes no views"
    return False


@pytest.mark.parametrize("recipe", RECIPES)
def test_parameters_of_recipes(recipe):
    own = [name for name in names_of(RECIPES[recipe]) if name != "size"]  # that of the dataset
    names = [*own, *(field.name for field in fields(View) if field.name not in own)]
    options = ("interpolation", "memory_format", "dtype", "chunk_bytes")
    refused = set()
    for name in [*names, *options]:
        for value in VALUES:
            if refused_or_good(lambda n=name, v=value: RECIPES.build(recipe, **{**RGB, n: v}),
                               name, value):  # fmt: skip
                refused.add(name)
    assert refused == {*names, *options}  # each refuses something


@pytest.mark.parametrize("name", names_of(BatchAugment))
@pytest.mark.parametrize("value", [0, -1, None, "many", [], [float("nan")] * 3])
def test_arguments_of_the_module(name, value):
    given = {"views": (View(), View()), **RGB, name: value}
    refused_or_good(lambda: BatchAugment(**given), name, value)


@pytest.mark.parametrize("name, value", [("size", 0), ("size", 2.5), ("crop", 0), ("crop", "all")])
def test_arguments_of_the_transform_for_evaluation(name, value):
    with pytest.raises(ValueError, match=f"^{name}="):
        EvalTransform(**{**RGB, name: value})


@pytest.mark.parametrize("ratio", [(5, 5), (1e-6, 1e-6), (1e6, 1e6)])
def test_crops_of_extreme_shapes_keep_a_pixel(ratio):
    augment = RECIPES.build("simclr", **RGB, ratio=ratio, blur=0.0)
    assert augment.seed(0)(IMAGES).isfinite().all()
