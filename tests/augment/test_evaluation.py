"""EvalTransform against torchvision's transforms."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from dal_toolbox.augment import EvalTransform

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def random_images(height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("height", "width", "size", "crop", "side"),
    [
        (32, 32, 32, 0.875, 32),
        (30, 40, 64, 0.875, 30),  # smaller images are not cut
        (64, 64, 56, 0.875, 56),  # as 256 and 224
        (96, 96, 20, 0.875, 84),
        (60, 61, 56, 0.875, 56),  # never less than is needed
        (48, 48, 20, 1.0, 48),
        (30, 41, 20, 0.5, 20),
    ],
)
def test_takes_the_center_resizes_and_normalizes(height, width, size, crop, side):
    images = random_images(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, :, top : top + side, left : left + side] / 255
    expected = reference.normalize(
        reference.resize(square, [size, size], antialias=True), MEAN, STD
    )
    transform = EvalTransform(size, MEAN, STD, crop=crop)
    transformed = transform(images)
    torch.testing.assert_close(transformed, expected, atol=5e-5, rtol=0)
    assert transformed.is_contiguous()
    torch.testing.assert_close(transform(images / 255), transformed)


def test_agrees_with_resize_256_and_center_crop_224():
    ramp = torch.linspace(0, 1, 512).expand(1, 3, 512, 512)
    resized = reference.resize(ramp, [256, 256], antialias=True)
    expected = reference.normalize(reference.center_crop(resized, [224, 224]), MEAN, STD)
    transform = EvalTransform(224, MEAN, STD)
    torch.testing.assert_close(transform(resized), expected)
    torch.testing.assert_close(transform(ramp), expected, atol=3e-3, rtol=0)  # edges differ


@pytest.mark.parametrize("crop", [0, 1.1])
def test_crop_is_a_share(crop):
    with pytest.raises(ValueError, match=f"crop={crop}"):
        EvalTransform(8, MEAN, STD, crop=crop)


def test_key_names_everything_that_changes_the_result():
    keys = {
        EvalTransform(size, mean, std, crop=crop).key
        for crop in (0.875, 1)
        for size in (32, 64)
        for mean in (MEAN, (0.5, 0.4, 0.31))
        for std in (STD, (0.2, 0.25, 0.31))
    }
    assert len(keys) == 16
    assert EvalTransform(32, list(MEAN), list(STD)).key == EvalTransform(32, MEAN, STD).key
