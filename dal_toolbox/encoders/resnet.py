"""ResNets whose stem fits the image size (He et al., 2016, https://arxiv.org/abs/1512.03385)."""

from typing import Literal, get_args

from torch import Tensor, nn

from dal_toolbox.arguments import one_of
from dal_toolbox.encoders.base import ENCODERS, Encoder
from dal_toolbox.encoders.timm import build_timm
from dal_toolbox.progress import log

Stem = Literal["auto", "small", "imagenet"]
SMALL_IMAGE = 64  # pixels; the ImageNet stem would leave a 2×2 map of a larger image's 16×16


class ResNet(Encoder):
    """A ResNet of timm; small images get a 3×3 stem of stride 1 without pooling.

    The small stem is that of SimCLR's CIFAR experiments (Chen et al., 2020, Appendix B.9,
    https://arxiv.org/abs/2002.05709).

    Args:
        model: ``resnet18``, ``resnet34`` or ``resnet50``.
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        stem: ``small`` (3×3, stride 1), ``imagenet`` (7×7, stride 2, max-pooling), or by image size.
        pretrained: Loads ImageNet weights; those of the first convolution are lost in a small stem.

    Raises:
        ValueError: A size or a choice cannot be meant.
        PretrainedUnavailable: The weights cannot be downloaded.
    """

    def __init__(
        self,
        model: str,
        image_size: int,
        in_channels: int,
        *,
        stem: Stem = "auto",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        one_of(get_args(Stem), stem=stem)
        self.model = build_timm(model, image_size, in_channels, pretrained=pretrained)
        if stem == "small" or (stem == "auto" and image_size <= SMALL_IMAGE):
            if pretrained:
                log.warning("stem=small: the first convolution of the pretrained %s is new", model)
            self.model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.model.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.model.maxpool = nn.Identity()
        self.num_features = int(self.model.num_features)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, num_features)."""
        return self.model(images)


def _register(name: str) -> None:
    @ENCODERS.register(name)
    def build(
        image_size: int, in_channels: int, *, stem: Stem = "auto", pretrained: bool = False
    ) -> ResNet:
        return ResNet(name, image_size, in_channels, stem=stem, pretrained=pretrained)

    build.__qualname__ = build.__name__ = name
    build.__doc__ = f"The ``{name}`` of timm; images of up to {SMALL_IMAGE} px get a small stem."


for _name in ("resnet18", "resnet34", "resnet50"):
    _register(_name)
