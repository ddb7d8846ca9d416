"""Encoders: the contract of every registered one, and what each promises."""

import pytest
import torch

from dal_toolbox.encoders import ENCODERS, create_encoder, load_encoder, save_encoder
from dal_toolbox.errors import UserError


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_contract(name, in_channels):
    torch.manual_seed(0)
    encoder = create_encoder(name, image_size=32, in_channels=in_channels)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    fresh = [value for key, value in before.items() if key.endswith("running_mean")]
    assert all((value == 0).all() for value in fresh), "the constructor ran a batch"
    encoder.eval()
    features = encoder(torch.randn(3, in_channels, 32, 32))
    assert features.shape == (3, encoder.num_features)
    assert features.isfinite().all()
    assert encoder.recipe["name"] == name


@pytest.mark.parametrize("image_size", [8, 16, 28, 32, 64, 96])
def test_small_takes_every_size(image_size):
    encoder = create_encoder("small", image_size=image_size).eval()
    assert encoder(torch.randn(2, 3, image_size, image_size)).shape == (2, 128)


def test_small_has_about_300_thousand_parameters():
    encoder = create_encoder("small", image_size=32)
    assert 290_000 < sum(p.numel() for p in encoder.parameters()) < 320_000


def test_stem_follows_the_image_size():
    assert create_encoder("resnet18", image_size=32).model.conv1.stride == (1, 1)
    assert create_encoder("resnet18", image_size=224).model.conv1.stride == (2, 2)
    assert create_encoder("resnet18", image_size=224, stem="small").model.conv1.stride == (1, 1)
    assert create_encoder("resnet18", image_size=32, stem="imagenet").model.conv1.stride == (2, 2)


def test_small_stem_keeps_the_resolution():
    encoder = create_encoder("resnet18", image_size=32).eval()
    assert encoder.model.forward_features(torch.randn(1, 3, 32, 32)).shape == (1, 512, 4, 4)


def test_any_timm_name():
    encoder = create_encoder("mobilenetv3_small_050", image_size=32).eval()
    assert encoder(torch.randn(1, 3, 32, 32)).shape == (1, encoder.num_features)


def test_model_of_fixed_size_is_built_for_the_image_size():
    encoder = create_encoder("vit_tiny_patch16_224", image_size=32).eval()
    assert encoder(torch.randn(1, 3, 32, 32)).shape == (1, 192)


def test_unknown_name_names_the_nearest():
    with pytest.raises(UserError, match=r"no encoder 'resnet81'\. Did you mean 'resnet18'"):
        create_encoder("resnet81", image_size=32)


def test_pretrained_without_network_is_one_plain_line():
    with pytest.raises(UserError, match="no pretrained weights for 'coatnet_0_224'") as caught:
        create_encoder("coatnet_0_224", image_size=224, pretrained=True)
    assert "\n" not in str(caught.value)


def test_checkpoint_round_trip(tmp_path):
    encoder = create_encoder("small", image_size=16, in_channels=1, width=8).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors", mean=[0.5], method="simclr")
    for path in (tmp_path, tmp_path / "encoder.safetensors"):
        loaded, facts = load_encoder(path)
        x = torch.randn(2, 1, 16, 16)
        torch.testing.assert_close(loaded(x), encoder(x), rtol=0, atol=0)
        assert not loaded.training
        assert facts["method"] == "simclr"
        assert facts["num_features"] == 32


def test_missing_checkpoint_says_what_is_expected(tmp_path):
    with pytest.raises(UserError, match="encoder.safetensors is missing"):
        load_encoder(tmp_path)
