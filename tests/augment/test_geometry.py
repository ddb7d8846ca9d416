"""Crops, resizing and blur against torchvision's, image by image, with the same parameters."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as reference

from dal_toolbox.augment.blur import blur_matrices, gaussian_blur
from dal_toolbox.augment.geometry import TRIES, random_boxes, resized_crop
from dal_toolbox.augment.separable import resize_weights

TOLERANCE = {"atol": 1e-5, "rtol": 0}
MODES = {False: InterpolationMode.BILINEAR, True: InterpolationMode.BICUBIC}


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def draw_boxes(n, height, width, scale, ratio, seed=0):
    uniforms = rand(n, 2 * TRIES + 2, seed=seed)
    return random_boxes(uniforms, height, width, torch.tensor(scale), torch.tensor(ratio))


def torchvision_boxes(n, height, width, scale, ratio):
    crop = v2.RandomResizedCrop(8, scale=scale, ratio=ratio)
    image = torch.empty(1, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        params = [crop.make_params([image]) for _ in range(n)]
    return torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in params]).float()


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (21, 40, 16), (8, 8, 32)])
def test_resized_crop_is_torchvisions(height, width, size, bicubic):
    images = rand(40, 3, height, width)
    boxes = draw_boxes(40, height, width, (0.05, 1.0), (0.5, 2.0))
    flip = (torch.arange(40) % 2 == 0).float()[:, None]
    crops = resized_crop(images, boxes, size, flip, bicubic)
    for image, box, flipped, crop in zip(images, boxes.int().tolist(), flip, crops, strict=True):
        expected = reference.resized_crop(image, *box, [size, size], MODES[bicubic], antialias=True)
        expected = expected.flip(-1) if flipped else expected
        torch.testing.assert_close(crop, expected.clamp(0, 1), **TOLERANCE)


def test_whole_image_is_left_as_it_is():
    images = rand(2, 3, 9, 9)
    box = torch.tensor([[0.0, 0, 9, 9]]).expand(2, 4)
    assert torch.equal(resized_crop(images, box, 9), images)


def test_weights_sum_to_one_and_stay_within_the_box():
    start, length = torch.tensor([[0.0], [3], [9]]), torch.tensor([[10.0], [7], [1]])
    weights = resize_weights(start, length, size_in=10, size_out=6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6))
    assert weights[1, :, :3].eq(0).all()
    assert weights[2, :, 9].eq(1).all()
    assert weights.ge(0).all()


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (24, 40, (0.2, 0.9), (1 / 2, 2.0)),
        (32, 32, (0.9, 1.0), (1 / 2, 2.0)),  # most tries are rejected
    ],
)
def test_boxes_have_torchvisions_distribution(height, width, scale, ratio):
    n = 4000
    ours = draw_boxes(n, height, width, scale, ratio)
    theirs = torchvision_boxes(n, height, width, scale, ratio)
    for name, statistic in {
        "area": lambda box: box[:, 2] * box[:, 3],
        "aspect": lambda box: box[:, 3] / box[:, 2],
        "top": lambda box: box[:, 0] / (height - box[:, 2]).clamp_min(1),
        "left": lambda box: box[:, 1] / (width - box[:, 3]).clamp_min(1),
    }.items():
        assert ks_2samp(statistic(ours), statistic(theirs)).pvalue > 1e-3, name
    correlations = torch.corrcoef(ours.T) - torch.corrcoef(theirs.T)
    assert correlations.nan_to_num().abs().max() < 5 * (2 / n) ** 0.5  # five standard errors


@pytest.mark.parametrize("ratio", [(4.0, 5.0), (0.1, 0.2), (0.9, 1.1)])
@pytest.mark.parametrize(("height", "width"), [(20, 30), (30, 20), (25, 25)])
def test_fallback_is_torchvisions_central_crop(height, width, ratio):
    scale = (5.0, 5.0)  # fits never
    ours = draw_boxes(3, height, width, scale, ratio)
    theirs = torchvision_boxes(3, height, width, scale, ratio)
    torch.testing.assert_close(ours, theirs)


def test_boxes_are_inside_at_the_edge_of_the_uniform_numbers():
    largest = torch.tensor(1.0).nextafter(torch.tensor(0.0))
    for value in (0.0, largest):
        uniforms = torch.full((1, 2 * TRIES + 2), float(value))
        top, left, height, width = random_boxes(
            uniforms, 33, 65, torch.tensor([0.08, 1.0]), torch.tensor([0.75, 4 / 3])
        )[0].tolist()
        assert 0 <= top <= 33 - height
        assert 0 <= left <= 65 - width


@pytest.mark.parametrize("kernel", [(3, 3), (9, 5), (1, 15)])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_torchvisions(kernel, channels):
    images = rand(12, channels, 8, 11)
    sigma = torch.linspace(0.1, 3, 12)
    expected = torch.stack(
        [
            reference.gaussian_blur(x, list(kernel), [s, s])
            for x, s in zip(images, sigma.tolist(), strict=True)
        ]
    )
    torch.testing.assert_close(gaussian_blur(images, sigma[:, None], kernel), expected, **TOLERANCE)


def test_blur_keeps_constant_images():
    matrices = blur_matrices(torch.tensor([[0.1], [1.0], [50.0]]), kernel_size=7, size=4)
    torch.testing.assert_close(matrices.sum(-1), torch.ones(3, 4))
