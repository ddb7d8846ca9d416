"""EvalTransform against torchvision's transforms."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from dal_toolbox.augment import EvalTransform

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (48, 48, 20), (30, 40, 64)])
def test_resizes_the_central_square_and_normalizes(height, width, size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, height, width), dtype=torch.uint8, generator=generator)
    square = reference.center_crop(images / 255, [min(height, width)] * 2)
    expected = reference.normalize(
        reference.resize(square, [size, size], antialias=True), MEAN, STD
    )
    transformed = EvalTransform(size, MEAN, STD)(images)
    torch.testing.assert_close(transformed, expected, atol=5e-5, rtol=0)
    assert transformed.is_contiguous()
    torch.testing.assert_close(EvalTransform(size, MEAN, STD)(images / 255), transformed)


def test_key_names_everything_that_changes_the_result():
    keys = {
        EvalTransform(size, mean, std).key
        for size in (32, 64)
        for mean in (MEAN, (0.5, 0.4, 0.31))
        for std in (STD, (0.2, 0.25, 0.31))
    }
    assert len(keys) == 8
    assert EvalTransform(32, list(MEAN), list(STD)).key == EvalTransform(32, MEAN, STD).key
