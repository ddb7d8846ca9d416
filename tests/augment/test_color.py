"""Color operations against torchvision's, image by image, with the same factors."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from dal_toolbox.augment.color import (
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    adjust_hue_,
    blend_,
    blend_shares,
    grayscale_,
    hue_offsets,
    solarize_,
)

TOLERANCE = {"atol": 2e-6, "rtol": 0}  # float32 rounding of values in [0, 1]
BLENDS = {
    BRIGHTNESS: reference.adjust_brightness,
    CONTRAST: reference.adjust_contrast,
    SATURATION: reference.adjust_saturation,
}


@pytest.fixture(params=[1, 3], ids=["gray", "rgb"])
def images(request):
    """Random colors, plus the corners of the color cube and equal channels, where hue is odd."""
    images = torch.rand(64, request.param, 9, 7, generator=torch.Generator().manual_seed(0))
    images[:16] = images[:16].round()
    images[16:32] = images[16:32, :1]
    images[32:40] = (images[32:40] * 4).round() / 4
    return images


def each(values):
    return values[:, None, None, None]


def blend(images, factors, operations):
    images = images.clone()
    blend_(images, each(factors), *map(each, blend_shares(factors, operations)))
    return images


def turn_hue(images, shifts):
    images = images.clone()
    adjust_hue_(images, hue_offsets(shifts[:, None])[..., None, None])
    return images


@pytest.mark.parametrize("operation", BLENDS)
def test_blend_is_torchvisions_operation(images, operation):
    factors = torch.linspace(0, 2.5, len(images))
    expected = torch.stack(
        [BLENDS[operation](x, f) for x, f in zip(images, factors.tolist(), strict=True)]
    )
    ours = blend(images, factors, torch.full((len(images),), operation))
    torch.testing.assert_close(ours, expected, **TOLERANCE)


def test_blend_takes_a_different_operation_for_each_image(images):
    operations = torch.arange(len(images)) % 3
    factors = torch.linspace(0.2, 1.8, len(images))
    expected = torch.stack(
        [
            BLENDS[o](x, f)
            for x, f, o in zip(images, factors.tolist(), operations.tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(blend(images, factors, operations), expected, **TOLERANCE)


def test_hue_is_torchvisions(images):
    shifts = torch.linspace(-0.5, 0.5, len(images))[torch.arange(len(images)) * 5 % 64]
    expected = torch.stack(
        [reference.adjust_hue(x, s) for x, s in zip(images, shifts.tolist(), strict=True)]
    )
    torch.testing.assert_close(turn_hue(images, shifts), expected, **TOLERANCE)


def test_hue_by_thirds_of_a_turn_permutes_the_channels():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    turned = turn_hue(images, torch.full((4,), 1 / 3))
    torch.testing.assert_close(turned, images.roll(1, dims=1), **TOLERANCE)


def test_grayscale_is_torchvisions(images):
    expected = reference.rgb_to_grayscale(images, num_output_channels=images.shape[1])
    grayscale_(images)
    torch.testing.assert_close(images, expected, **TOLERANCE)


def test_solarize_is_torchvisions(images):
    thresholds = torch.linspace(0, 1, len(images))
    expected = torch.stack(
        [reference.solarize(x, t) for x, t in zip(images, thresholds.tolist(), strict=True)]
    )
    solarize_(images, each(thresholds))
    torch.testing.assert_close(images, expected, **TOLERANCE)
