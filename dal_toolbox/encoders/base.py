"""What every encoder is, and how one is made from its name."""

from abc import ABC, abstractmethod
from difflib import get_close_matches

from torch import Tensor, nn

from dal_toolbox.registry import Registry, UnknownName


class Encoder(nn.Module, ABC):
    """A network that maps images to feature vectors.

    Attributes:
        num_features: Length d of a feature vector.
        recipe: Name, sizes and hyperparameters that :func:`create_encoder` was called with;
            enough to build the same architecture again.
    """

    num_features: int
    recipe: dict[str, object]

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, d)."""


ENCODERS: Registry[Encoder] = Registry(
    "encoder", package="dal_toolbox.encoders", entry_points="dal_toolbox.encoders"
)


def create_encoder(
    name: str, *, image_size: int, in_channels: int = 3, **hyperparameters: object
) -> Encoder:
    """Builds an encoder of the registry, or any model of timm, by name.

    Args:
        name: A name of ``ENCODERS`` or of timm: ``"small"``, ``"resnet18"``, ``"coatnet_0_224"``.
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        hyperparameters: Keywords of the factory, such as ``pretrained`` or ``stem``.

    Raises:
        UnknownName: Neither the registry nor timm knows the name.
    """
    sizes = {"image_size": image_size, "in_channels": in_channels}
    if name in ENCODERS:
        encoder = ENCODERS.build(name, **sizes, **hyperparameters)
    elif is_timm_model(name):
        encoder = ENCODERS.build("timm", **sizes, model=name, **hyperparameters)
    else:
        raise UnknownName(_unknown(name))
    encoder.recipe = {"name": name, **sizes, **hyperparameters}
    return encoder


def is_timm_model(name: str) -> bool:
    """Whether timm has a model of this name (a tag after a dot names its weights)."""
    import timm

    return timm.is_model(name)


def _unknown(name: str) -> str:
    import timm

    near = get_close_matches(name, [*ENCODERS, *timm.list_models()], n=2)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"no encoder '{name}'.{hint} Known: {', '.join(ENCODERS)}, and every model of timm"
