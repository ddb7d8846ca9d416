"""BatchAugment against torchvision's transforms, and what it promises beside."""

import copy
import pickle

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as reference

from dal_toolbox.augment import BatchAugment, View
from dal_toolbox.augment.parameters import NEVER, NO_JITTER, Parameters

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
STRONG = View(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    jitter=0.8,
    grayscale=0.2,
    blur=0.5,
    kernel_size=(5, 3),
    solarize=0.2,
)
OTHER = View(brightness=0.4, contrast=0.4, scale=(0.3, 0.6), flip=0.2, blur=0.1, kernel_size=7)


def pictures(b=24, c=3, h=20, w=28, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (b, c, h, w), dtype=torch.uint8, generator=generator)


def module(size=16, views=(STRONG, OTHER), channels=3, **options):
    return BatchAugment(size, MEAN[:channels], STD[:channels], views, **options)


def parameters_of(augment, images, seed):
    b, _, h, w = images.shape
    table = augment.distribution.draw(b, h, w, torch.Generator().manual_seed(seed))
    return Parameters.of(table.flatten(0, 1))


def by_torchvision(image, p, i, size, kernel, mode):
    """Applies the parameters of sample i with torchvision's functions, one after the other."""
    color = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation)
    x = image.float() / 255
    box = p.boxes[i].int().tolist()
    x = reference.resized_crop(x, *box, [size, size], mode, antialias=True).clamp(0, 1)
    x = reference.horizontal_flip(x) if p.flip[i] else x
    if p.stage[i] < NO_JITTER:
        steps = [
            (color[operation], factor)
            for operation, factor in zip(p.blends[i].int(), p.factors[i].tolist(), strict=True)
        ]
        steps.insert(int(p.stage[i]), (reference.adjust_hue, float(p.hue[i])))
        for function, factor in steps:
            x = function(x, factor)
    if p.grayscale[i]:
        x = reference.rgb_to_grayscale(x, num_output_channels=len(x))
    if p.sigma[i] > 0:
        x = reference.gaussian_blur(x, list(kernel), [float(p.sigma[i])])
    if p.threshold[i] < NEVER:
        x = reference.solarize(x, float(p.threshold[i]))
    return reference.normalize(x, MEAN[: len(x)], STD[: len(x)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_every_sample_is_what_torchvision_makes_of_its_parameters(channels, interpolation):
    images = pictures(c=channels)
    augment = module(channels=channels, interpolation=interpolation).seed(3)
    views = augment(images)
    p = parameters_of(augment, images, seed=3)
    for i, view in enumerate(views):
        kernel = augment.views[i // 24].kernel
        mode = InterpolationMode(interpolation)
        expected = by_torchvision(images[i % 24], p, i, 16, kernel, mode)
        differs = (view - expected).abs().amax(0) > 1e-4  # in units of the std
        # A value within rounding of the threshold may fall on its other side.
        assert differs.float().mean() <= (0.02 if p.threshold[i] < NEVER else 0), i


OPERATIONS = {
    "crop": (View(flip=0), [v2.RandomResizedCrop(16, antialias=True)]),
    "flip": (View(scale=(1, 1), ratio=(1, 1)), [v2.RandomHorizontalFlip()]),
    "jitter": (
        View(scale=(1, 1), ratio=(1, 1), flip=0, brightness=0.8, contrast=0.8, saturation=0.8,
             hue=0.2, jitter=0.8),
        [v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8)],
    ),
    "grayscale": (View(scale=(1, 1), ratio=(1, 1), flip=0, grayscale=0.3), [v2.RandomGrayscale(0.3)]),
    "blur": (
        View(scale=(1, 1), ratio=(1, 1), flip=0, blur=0.5, kernel_size=5),
        [v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], p=0.5)],
    ),
    "solarize": (
        View(scale=(1, 1), ratio=(1, 1), flip=0, solarize=0.3, threshold=0.6),
        [v2.RandomSolarize(0.6, p=0.3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_distribution_is_that_of_torchvisions_random_transform(operation):
    """Mean, variance and covariance of image statistics agree within five standard errors."""
    n = 3000
    view, transforms = OPERATIONS[operation]
    image = pictures(b=1, h=16, w=16)
    image = (image.float().cumsum(2) % 255).to(torch.uint8)  # some structure
    ours = BatchAugment(16, (0, 0, 0), (1, 1, 1), [view]).seed(1)(image.expand(n, -1, -1, -1))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        transform = v2.Compose(transforms)
        theirs = torch.stack([transform(image[0].float() / 255) for _ in range(n)])
    ours, theirs = statistics(ours), statistics(theirs)
    for a, b in zip(moments(ours), moments(theirs), strict=True):
        error = ((a.var(0) + b.var(0)) / n).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 5 * error + 1e-5).all()


def statistics(x):
    """Per channel mean, spread, horizontal and vertical slope, left half. Shape: (n, 15)."""
    return torch.cat(
        [
            x.mean((2, 3)),
            x.std((2, 3)),
            x.diff(dim=3).abs().mean((2, 3)),
            x.diff(dim=2).abs().mean((2, 3)),
            x[..., :8].mean((2, 3)),
        ],
        dim=1,
    )


def moments(s):
    """Samples whose means are the mean, the variance and the covariance."""
    centered = s - s.mean(0)
    return s, centered**2, centered[:, :1] * centered[:, 1:]


def test_parameters_have_torchvisions_correlation_with_the_result():
    """A stronger parameter changes the result as much as it does in torchvision."""
    n = 2000
    image = pictures(b=1, h=16, w=16)
    view = View(scale=(1, 1), ratio=(1, 1), flip=0, brightness=0.5)
    augment = BatchAugment(16, (0, 0, 0), (1, 1, 1), [view]).seed(0)
    brightness = augment(image.expand(n, -1, -1, -1)).mean((1, 2, 3))
    p = parameters_of(augment, image.expand(n, -1, -1, -1), seed=0)
    factors = p.factors[p.blends == 0]
    expected = torch.stack(
        [reference.adjust_brightness(image[0] / 255, f).mean() for f in factors.tolist()]
    )
    ours = torch.corrcoef(torch.stack([factors, brightness]))[0, 1]
    theirs = torch.corrcoef(torch.stack([factors, expected]))[0, 1]
    assert abs(ours - theirs) < 1e-4
    assert ours > 0.99


def test_same_seed_same_views_whatever_the_global_generator():
    images = pictures()
    torch.manual_seed(0)
    first = module().seed(5)(images)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    augment = module().seed(5)
    assert torch.equal(augment(images), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(augment(images), first)  # the next batch has other views
    assert torch.equal(augment.seed(5)(images), first)


@pytest.mark.parametrize("chunk_bytes", [1, 50_000, 2**30])
@pytest.mark.parametrize("channels", [1, 3])
def test_chunks_do_not_change_the_views(chunk_bytes, channels):
    images = pictures(c=channels)
    expected = module(channels=channels).seed(0)(images)
    views = module(channels=channels, chunk_bytes=chunk_bytes).seed(0)(images)
    torch.testing.assert_close(views, expected, atol=1e-5, rtol=0)


def test_threads_do_not_change_the_views():
    images = pictures(b=64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = module().seed(0)(images)
        torch.set_num_threads(2)
        two = module().seed(0)(images)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)


def test_views_of_one_image_differ_and_come_view_by_view():
    images = pictures(b=5)
    views = module(views=(STRONG, STRONG, STRONG)).seed(0)(images)
    assert views.shape == (15, 3, 16, 16)
    first, second, third = views.chunk(3)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    fixed = View(scale=(1, 1), ratio=(1, 1), flip=0)
    row = BatchAugment(20, MEAN, STD, (fixed, STRONG)).seed(0)(pictures(b=5, w=20))[:5]
    expected = reference.normalize(pictures(b=5, w=20) / 255, MEAN, STD)
    torch.testing.assert_close(row, expected, atol=1e-5, rtol=0)


def test_float_images_give_the_same_views_as_uint8():
    images = pictures()
    expected = module().seed(0)(images)
    assert torch.equal(module().seed(0)(images / 255), expected)
    assert torch.equal(module().seed(0)(images.double() / 255), expected)


def test_images_are_not_changed():
    images = pictures(b=4).float() / 255
    before = images.clone()
    module()(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_and_type_are_as_asked(dtype, memory_format):
    images = pictures()
    views = module(dtype=dtype, memory_format=memory_format).seed(0)(images)
    assert views.dtype == dtype
    assert views.is_contiguous(memory_format=memory_format)
    assert torch.equal(views, module().seed(0)(images).to(dtype))


def test_autocast_does_not_lower_the_precision():
    images = pictures()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = module().seed(0)(images)
    assert torch.equal(views, module().seed(0)(images))


def test_number_of_operations_does_not_grow_with_the_number_of_samples():
    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.count += 1
            return function(*args, **(kwargs or {}))

    counts = []
    for b in (100, 1600):
        augment, images = module(chunk_bytes=2**30).seed(0), pictures(b=b)
        with Counter() as counter:
            augment(images)
        counts.append(counter.count)
    assert counts[1] < 1.5 * counts[0]  # a few more groups of samples occur


def test_module_is_copied_with_its_generator_and_saves_nothing():
    augment = module().seed(0)
    copies = [copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))]
    expected = augment(pictures())
    for each in copies:
        assert torch.equal(each(pictures()), expected)
    assert augment.state_dict() == {}


def test_empty_batch_gives_no_views():
    assert module()(pictures(b=0)).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 8, 8), "shape"),
        (torch.zeros(2, 4, 8, 8), "c = 1 or 3"),
        (torch.zeros(2, 1, 8, 8), "1 channels with a mean of 3"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "int64"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        module()(images)


def test_kernels_larger_than_the_views_are_refused():
    with pytest.raises(ValueError, match="kernel_size=9: must be at most 7"):
        BatchAugment(4, MEAN, STD, [View(blur=0.5, kernel_size=9)])
    with pytest.raises(ValueError, match=r"views=\[\]: must be at least one View"):
        BatchAugment(4, MEAN, STD, [])


@pytest.mark.gpu
def test_gpu_gives_the_same_views():
    images = pictures()
    expected = module().seed(0)(images)
    augment = module().seed(0).to("cuda")
    torch.testing.assert_close(augment(images.cuda()).cpu(), expected, atol=1e-4, rtol=0)
