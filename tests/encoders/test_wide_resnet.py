"""Wide ResNets: the sizes of the paper, and its block written down once more."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dal_toolbox.encoders import create_encoder
from dal_toolbox.encoders.wide_resnet import WideBlock, WideResNet


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_those_of_the_paper():
    """Table 4 of the paper: 36.5 M for WRN-28-10 with its classifier of 10 classes."""
    wide = create_encoder("wide_resnet28_10", image_size=32)
    assert wide.num_features == 640
    assert parameters(wide) + 641 * 10 == 36_479_194
    narrow = create_encoder("wide_resnet28_2", image_size=32)
    assert narrow.num_features == 128
    assert parameters(narrow) + 129 * 10 == 1_467_610  # 1.5 M


@pytest.mark.parametrize("image_size", [8, 28, 32, 33, 64, 96])
def test_takes_every_size(image_size):
    encoder = WideResNet(image_size, 3, depth=10, width=1).eval()
    assert encoder(torch.randn(1, 3, image_size, image_size)).shape == (1, 64)


@pytest.mark.parametrize(("channels", "stride"), [(8, 1), (16, 1), (16, 2)])
def test_block_is_the_formula(channels, stride):
    torch.manual_seed(0)
    block = WideBlock(8, channels, stride, dropout=0.3).eval()
    for norm in (block.bn1, block.bn2):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, 8, 8, 8)
    before = x.clone()
    a = block.bn1(x).clamp(min=0)
    y = F.conv2d(a, block.conv1.weight, stride=stride, padding=1)
    y = F.conv2d(block.bn2(y).clamp(min=0), block.conv2.weight, padding=1)
    shortcut = x if channels == 8 else F.conv2d(a, block.shortcut.weight, stride=stride)
    torch.testing.assert_close(block(x), y + shortcut)
    assert torch.equal(x, before)


def test_dropout_only_in_training():
    torch.manual_seed(0)
    encoder = create_encoder("wide_resnet28_2", image_size=8, dropout=0.5)
    x = torch.randn(4, 3, 8, 8)
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


def test_every_parameter_learns():
    encoder = WideResNet(16, 3, depth=10, width=2)
    encoder(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_mistakes_are_plain_lines():
    with pytest.raises(ValueError, match="^image_size=4: must be at least 8 for wide_resnet28_2"):
        create_encoder("wide_resnet28_2", image_size=4)
    with pytest.raises(ValueError, match=r"^dropout=1.5: must be a number from 0 to below 1"):
        create_encoder("wide_resnet28_2", image_size=32, dropout=1.5)
    with pytest.raises(ValueError, match="^depth=20: must be 6 n"):
        WideResNet(32, 3, depth=20, width=1)
