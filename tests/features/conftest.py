import numpy as np
import pytest
import torch

from dal_toolbox.datasets.base import ImageArray
from dal_toolbox.encoders import create_encoder
from dal_toolbox.features import Features, FeatureSpec


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (23, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return ImageArray(pixels, np.arange(23) % 5, [f"train/{i:05d}" for i in range(23)])


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return create_encoder("small", image_size=16)


@pytest.fixture
def spec():
    return FeatureSpec("encoder", "images", "train", "resize(8)", "float32")


@pytest.fixture
def features():
    values = torch.randn(60, 7, generator=torch.Generator().manual_seed(0))
    return Features(values, torch.arange(60) % 4, [str(i) for i in range(60)], key="k")
