import numpy as np
import pytest
import torch
from torch import nn

from dal_toolbox.augment import EvalTransform
from dal_toolbox.encoders.base import Encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features import extract_features

STATISTICS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3), "device": "cpu", "precision": "32"}


class Fixed(Encoder):
    """Puts out what a function makes of the images."""

    def __init__(self, num_features, function):
        super().__init__()
        self.num_features = num_features
        self.function = function

    def forward(self, images):
        return self.function(images)


def test_features_are_those_of_the_encoder_in_evaluation_mode(encoder, images):
    transform = EvalTransform(16, STATISTICS["mean"], STATISTICS["std"])
    with torch.no_grad():
        expected = encoder.eval()(transform(images.images))
    encoder.train()
    values = extract_features(encoder, images, **STATISTICS)
    assert torch.allclose(values, expected, atol=1e-5)
    assert (values.dtype, values.device.type) == (torch.float32, "cpu")
    assert not values.requires_grad and not values.is_inference()


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_batch_size_does_not_matter(encoder, images, batch_size):
    expected = extract_features(encoder, images, batch_size=23, **STATISTICS)
    values = extract_features(encoder.train(), images, batch_size=batch_size, **STATISTICS)
    assert torch.allclose(values, expected, atol=1e-5)


def test_the_encoder_is_given_back_as_it_was(encoder, images):
    encoder.train()
    frozen = next(part for part in encoder.modules() if isinstance(part, nn.BatchNorm2d))
    frozen.eval()
    modes = [part.training for part in encoder.modules()]
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    random_states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    extract_features(encoder, images, **STATISTICS)
    assert [part.training for part in encoder.modules()] == modes
    assert len(set(modes)) == 2
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[name])
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert np.array_equal(np.random.get_state()[1], random_states[1])  # noqa: NPY002


def test_modes_come_back_after_an_error(images):
    def fail(batch):
        raise RuntimeError("no")

    encoder = Fixed(2, fail)
    encoder.part = nn.Dropout().eval()
    with pytest.raises(RuntimeError, match="no"):
        extract_features(encoder.requires_grad_(False), images, **STATISTICS)
    assert encoder.training and not encoder.part.training


def test_float16_and_image_size(encoder, images):
    sizes = []
    half = extract_features(encoder, images, dtype=torch.float16, **STATISTICS)
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), extract_features(encoder, images, **STATISTICS), atol=1e-2)

    def look(batch):
        sizes.append(tuple(batch.shape[1:]))
        return batch.mean(dim=(2, 3))

    extract_features(Fixed(3, look), images, image_size=8, **STATISTICS)
    assert set(sizes) == {(3, 8, 8)}


def test_bfloat16_runs_under_autocast(images):
    linear = nn.Linear(3, 4)
    seen = []

    def forward(batch):
        out = linear(batch.mean(dim=(2, 3)))
        seen.append(out.dtype)
        return out

    values = extract_features(Fixed(4, forward), images, **{**STATISTICS, "precision": "bf16"})
    assert (seen, values.dtype) == ([torch.bfloat16], torch.float32)


@pytest.mark.parametrize(
    ("output", "dtype", "message"),
    [
        (lambda x: x.new_full((len(x), 2), float("nan")), torch.float32, "NaN or numbers beyond"),
        (lambda x: x.new_full((len(x), 2), 1e6), torch.float16, "beyond torch.float16"),
        (lambda x: x.new_zeros(len(x), 3), torch.float32, r"shape \(23, 3\).*\(23, 2\) was wanted"),
        (lambda x: x.new_zeros(len(x), 2, 1, 1), torch.float32, r"\(23, 2, 1, 1\)"),
    ],
)
def test_output_that_cannot_be_used(images, output, dtype, message):
    with pytest.raises(UserError, match=message):
        extract_features(Fixed(2, output), images, dtype=dtype, **STATISTICS)


def test_no_images(encoder, images):
    values = extract_features(encoder, images.subset(np.arange(0)), **STATISTICS)
    assert values.shape == (0, encoder.num_features)
