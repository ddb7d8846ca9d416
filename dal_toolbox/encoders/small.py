"""A residual network of 0.3 M parameters that trains on a CPU."""

import torch.nn.functional as F
from torch import Tensor, nn

from dal_toolbox.arguments import at_least, between
from dal_toolbox.encoders.base import ENCODERS, Encoder, check_sizes

WIDEST = 2**10  # channels: 0.3 billion parameters


@ENCODERS.register("small")
class SmallResNet(Encoder):
    """Three basic blocks (He et al., 2016, https://arxiv.org/abs/1512.03385) behind a stride-2 stem.

    Each block halves the resolution, so that most parameters work on few positions: at 32 px a forward
    pass costs 3 million multiply-adds, 180 times less than a ResNet-18 with a small stem. Images of
    16 px and less keep their resolution in the stem and the first block.

    Args:
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        width: Channels of the first block; the stem has 3/4 as many, the last block four times as many.

    Raises:
        ValueError: A size cannot be meant.
    """

    def __init__(self, image_size: int, in_channels: int, *, width: int = 32) -> None:
        super().__init__()
        check_sizes(image_size, in_channels)
        at_least(2, width=width)
        between(2, WIDEST, width=width)
        stride = 1 if image_size <= 16 else 2
        stem = 3 * width // 4
        self.conv1 = nn.Conv2d(in_channels, stem, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.blocks = nn.Sequential(
            BasicBlock(stem, width, stride),
            BasicBlock(width, 2 * width, stride=2),
            BasicBlock(2 * width, 4 * width, stride=2),
        )
        self.num_features = 4 * width

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, 4 * width)."""
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        return self.blocks(x).mean(dim=(2, 3))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, channels, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)
