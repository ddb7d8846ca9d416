"""Recipes state what their sources state, and configuration changes them."""

import pytest
import torch

from dal_toolbox.augment import RECIPES
from dal_toolbox.registry import UnknownName

RGB = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 48])
def test_every_recipe_makes_views(name, channels, size):
    augment = RECIPES.build(name, size=size, mean=(0.5,) * channels, std=(0.2,) * channels)
    images = torch.randint(0, 256, (6, channels, 8, 12), dtype=torch.uint8)
    views = augment.seed(0)(images)
    assert views.shape == (6 * len(augment.views), channels, size, size)
    assert views.isfinite().all()


def test_simclr_is_the_papers():
    for view in RECIPES.build("simclr", size=224, **RGB).views:
        assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.8, 0.8, 0.8, 0.2)
        assert (view.jitter, view.grayscale, view.flip, view.blur) == (0.8, 0.2, 0.5, 0.5)
        assert (view.scale, view.kernel_size, view.sigma) == ((0.08, 1.0), 23, (0.1, 2.0))


def test_simclr_on_cifar_has_half_the_color_distortion_and_no_blur():
    view = RECIPES.build("simclr", size=32, strength=0.5, **RGB).views[1]
    assert (view.brightness, view.contrast, view.saturation, view.hue) == (0.4, 0.4, 0.4, 0.1)
    assert view.blur == 0


def test_byol_has_two_different_views():
    first, second = RECIPES.build("byol", size=224, **RGB).views
    assert (first.blur, first.solarize) == (1.0, 0.0)
    assert (second.blur, second.solarize) == (0.1, 0.2)
    assert (first.saturation, first.hue) == (0.2, 0.1)


def test_digits_are_not_mirrored():
    assert RECIPES.build("digits", size=8, mean=(0.3,), std=(0.4,)).views[0].flip == 0


def test_none_normalizes_the_central_square():
    image = torch.arange(24, dtype=torch.uint8).view(1, 1, 4, 6)
    view = RECIPES.build("none", size=4, mean=(0,), std=(1,))(image)
    torch.testing.assert_close(view, image[..., 1:5] / 255)


def test_parameters_are_changed_by_name_for_all_views_or_for_each():
    augment = RECIPES.build(
        "simclr",
        size=48,
        **RGB,
        scale=[0.2, 0.9],  # as configuration gives it
        hue=0.05,
        brightness=[0.5, 0.6],
        solarize=[0.0, 0.1],
        kernel_size=[[3, 3], [5, 7]],
        interpolation="bicubic",
    )
    first, second = augment.views
    assert first.scale == second.scale == (0.2, 0.9)
    assert first.brightness == second.brightness == (0.5, 0.6)
    assert (first.hue, first.contrast) == (0.05, 0.8)
    assert (first.solarize, second.solarize) == (0.0, 0.1)
    assert (first.kernel, second.kernel) == ((3, 3), (5, 7))
    assert augment.interpolation == "bicubic"


def test_number_of_views_is_free():
    assert len(RECIPES.build("simclr", size=32, num_views=4, **RGB).views) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blurr": 0.5}, "blurr=0.5: no parameter of an augmentation. Known: scale, ratio"),
        ({"solarize": [0.1, 0.2, 0.3]}, "one for each of 2 views"),
        ({"strength": 3.0}, "strength=3.0: must be a number from 0 to 2.5"),
        ({"scale": 0.5}, "scale=0.5"),
        ({"num_views": 0}, "num_views=0: must be an integer of at least 1"),
    ],
)
def test_wrong_changes_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        RECIPES.build("simclr", size=32, **RGB, **wrong)


def test_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UnknownName, match="simclr"):
        RECIPES.build("simclir", size=32, **RGB)
