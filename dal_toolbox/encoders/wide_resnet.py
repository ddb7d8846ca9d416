"""Wide residual networks for small images (Zagoruyko & Komodakis, 2016)."""

import torch.nn.functional as F
from torch import Tensor, nn

from dal_toolbox.arguments import at_least, between
from dal_toolbox.encoders.base import ENCODERS, Encoder, check_rates, check_sizes

SMALLEST = 8  # pixels: the last group works on a quarter of the image
DEEPEST, WIDEST = 1000, 20  # of the paper's networks the largest are 40 deep, or 20 wide


class WideResNet(Encoder):
    """A wide ResNet with pre-activation, WRN-depth-width (https://arxiv.org/abs/1605.07146, Table 1).

    Three groups of blocks with 16, 32 and 64 times ``width`` channels; the second and the third
    halve the resolution.

    Args:
        image_size: Height and width of the images, in pixels; at least 8.
        in_channels: Channels of the images.
        depth: Number of convolutions, 6 n + 4 with n blocks in a group.
        width: Widening factor k.
        dropout: Probability of dropout between the convolutions of a block.

    Raises:
        ValueError: The images are too small, the depth is not 6 n + 4, ``dropout`` is not in [0, 1),
            or a size cannot be meant.
    """

    def __init__(
        self, image_size: int, in_channels: int, depth: int, width: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_sizes(image_size, in_channels)
        _check(image_size, depth, width, dropout)
        blocks = (depth - 4) // 6
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.groups = nn.Sequential(*[
            _group(channels[i], channels[i + 1], blocks, stride=1 if i == 0 else 2, dropout=dropout)
            for i in range(3)
        ])  # fmt: skip
        self.bn = nn.BatchNorm2d(channels[-1])
        self.num_features = channels[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, 64 * width)."""
        x = self.groups(self.conv1(images))
        return F.relu(self.bn(x), inplace=True).mean(dim=(2, 3))


class WideBlock(nn.Module):
    """BN-ReLU-conv twice, with dropout in between and a shortcut.

    Where channels change, the shortcut is a 1×1 convolution of the activated input.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_channels, h, w) -> (b, channels, h / stride, w / stride)."""
        activated = F.relu(self.bn1(x), inplace=True)
        y = self.dropout(F.relu(self.bn2(self.conv1(activated)), inplace=True))
        return self.conv2(y) + (x if self.shortcut is None else self.shortcut(activated))


def _group(
    in_channels: int, channels: int, blocks: int, *, stride: int, dropout: float
) -> nn.Sequential:
    first = WideBlock(in_channels, channels, stride, dropout)
    return nn.Sequential(
        first, *[WideBlock(channels, channels, 1, dropout) for _ in range(blocks - 1)]
    )


def _check(image_size: int, depth: int, width: int, dropout: float) -> None:
    at_least(10, depth=depth)
    at_least(1, width=width)
    between(10, DEEPEST, depth=depth)
    between(1, WIDEST, width=width)
    check_rates(dropout=dropout)
    if (depth - 4) % 6:
        raise ValueError(f"depth={depth}: must be 6 n + 4, such as 16, 28 or 40")
    if image_size < SMALLEST:
        raise ValueError(
            f"image_size={image_size}: must be at least {SMALLEST} for wide_resnet{depth}_{width}; "
            "the encoder small takes smaller images"
        )


def _register(depth: int, width: int) -> None:
    name = f"wide_resnet{depth}_{width}"

    @ENCODERS.register(name)
    def build(image_size: int, in_channels: int, *, dropout: float = 0.0) -> WideResNet:
        return WideResNet(image_size, in_channels, depth, width, dropout=dropout)

    build.__qualname__ = build.__name__ = name
    build.__doc__ = f"WRN-{depth}-{width}: {depth} convolutions, {64 * width} features."


for _depth, _width in ((28, 2), (28, 10)):
    _register(_depth, _width)
