"""Vision transformers under short names (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929)."""

from dal_toolbox.encoders.base import ENCODERS
from dal_toolbox.encoders.timm import TimmEncoder


@ENCODERS.register("vit16_tiny")
def vit16_tiny(
    image_size: int, in_channels: int, *, pretrained: bool = False, drop_path_rate: float = 0.0
) -> TimmEncoder:
    """The ``vit_tiny_patch16_224`` of timm for ``image_size``: 5.5 M parameters, 192 features."""
    return TimmEncoder(
        image_size,
        in_channels,
        model="vit_tiny_patch16_224",
        pretrained=pretrained,
        drop_path_rate=drop_path_rate,
    )
