"""Models of timm: families at small sizes, without weights and without a network."""

import socket

import pytest
import torch

from dal_toolbox.encoders import create_encoder
from dal_toolbox.errors import UserError

FAMILIES = [
    ("resnet10t", 32),
    ("vit_tiny_patch16_224", 32),
    ("vit16_tiny", 64),
    ("coatnet_nano_rw_224", 64),
    ("convnext_atto", 32),
    ("mobilenetv3_small_050", 32),
    ("swin_tiny_patch4_window7_224", 96),
]


@pytest.mark.parametrize(("name", "image_size"), FAMILIES)
def test_family(name, image_size):
    torch.manual_seed(0)
    encoder = create_encoder(name, image_size=image_size)
    assert encoder.training, "the check of the image size left evaluation mode on"
    features = encoder.eval()(torch.randn(1, 3, image_size, image_size))  # a batch of one
    assert features.shape == (1, encoder.num_features)
    assert features.isfinite().all()
    features.square().sum().backward()
    first = next(p for p in encoder.parameters() if p.ndim == 4)
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


@pytest.mark.parametrize("image_size", [64, 96, 224])
def test_coatnet_of_the_tutorial_is_built_for_the_image_size(image_size):
    with torch.device("meta"):  # shapes only
        encoder = create_encoder("coatnet_0_224", image_size=image_size)
    assert encoder.num_features == 768


def test_vit16_tiny_is_the_model_of_timm():
    encoder = create_encoder("vit16_tiny", image_size=224)
    assert encoder.num_features == 192
    assert sum(p.numel() for p in encoder.parameters()) == 5_524_416
    assert encoder.recipe["name"] == "vit16_tiny"


@pytest.mark.parametrize(
    ("name", "image_size"), [("crossvit_tiny_240", 96), ("efficientformer_l1", 64)]
)
def test_impossible_size_is_said_when_the_encoder_is_made(name, image_size):
    with pytest.raises(
        ValueError, match=f"^image_size={image_size}: the model '{name}' cannot take images"
    ) as caught:
        create_encoder(name, image_size=image_size)
    assert "\n" not in str(caught.value)


def test_unsuitable_option_is_one_plain_line():
    with pytest.raises(
        ValueError, match=r"^drop_path_rate=0.1: the model 'vgg11' has no such option"
    ):
        create_encoder("vgg11", image_size=32, drop_path_rate=0.1)


def test_border_that_no_patch_covers_is_said(caplog):
    create_encoder("eva02_tiny_patch14_224", image_size=40)
    assert "patches of 14 px do not divide 40 px" in caplog.text
    assert "; image_size=28 has" in caplog.text


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    def fails(*_arguments, **_keywords):
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    for key in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(key, raising=False)
        monkeypatch.delenv(key.upper(), raising=False)


def test_weights_without_network_fail_at_once(no_network, caplog):
    with caplog.at_level("INFO"), pytest.raises(UserError) as caught:
        create_encoder("mambaout_femto", image_size=32, pretrained=True)
    assert "no pretrained weights for 'mambaout_femto': the hub cannot be reached" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert "mambaout_femto.in1k (license: apache-2.0)" in caplog.text


def test_license_that_forbids_uses_is_a_warning(no_network, caplog):
    with pytest.raises(UserError):
        create_encoder("convnextv2_tiny", image_size=32, pretrained=True)
    assert "(license: cc-by-nc-4.0)" in caplog.text


def test_model_without_weights_names_a_relative():
    with pytest.raises(UserError, match=r"timm knows none \(of its family: coatnet_0_rw_224"):
        create_encoder("coatnet_0_224", image_size=224, pretrained=True)


def test_unknown_tag_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'resnet18' of timm has no weights 'nope'\. Known: .*a1"):
        create_encoder("resnet18.nope", image_size=32)
