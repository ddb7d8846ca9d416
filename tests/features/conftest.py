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


def _damages(content):
    """What can happen to a file, by name; each gives other bytes than ``content``."""
    middle = len(content) // 2

    def flipped(place):
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    variants = {
        "empty": b"",
        "cut": content[:-5],
        "cut to half": content[:middle],
        "longer": content + b"}",
        "zeros": bytes(len(content)),
        "zeros in the middle": content[:middle] + bytes(len(content) - middle),
        "shuffled": content[:128] + content[128:][::-1],
        "first bit": flipped(0),
        "a bit in the middle": flipped(middle),
        "last bit": flipped(len(content) - 1),
        "garbage": b"\xff\xfe\x00" * 50,
        "nested": b"[" * 200_000,
        "other JSON": b"null",
        "JSON of other kinds": b'{"spec": 1, "blocks": 2, "shape": 3, "metric": 4, "source": 5}',
        "empty JSON": b"{}",
        "header: dtype": content.replace(b"<f4", b"<i4").replace(b"<i8", b"<f8"),
        "header: shape": content.replace(b"(60, ", b"(30, ").replace(b"(60,)", b"(6, )"),
        "header: order": content.replace(b"'fortran_order': False", b"'fortran_order': True "),
        "digits": content.replace(b"0", b"1"),
    }
    return {name: bytes_ for name, bytes_ in variants.items() if bytes_ != content}


@pytest.fixture
def damages():
    return _damages
