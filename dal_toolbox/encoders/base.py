"""What every encoder is, and how one is made from its name."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from os import PathLike
from pathlib import Path

from torch import Tensor, nn

from dal_toolbox.arguments import at_least, between, non_negative
from dal_toolbox.io import file_digest
from dal_toolbox.registry import Registry, UnknownName

LARGEST_IMAGE = 2**14  # pixels
MOST_CHANNELS = 2**10


class Encoder(nn.Module, ABC):
    """A network that maps images to feature vectors.

    Attributes:
        num_features: Length d of a feature vector.
        recipe: Name, sizes and hyperparameters that :func:`create_encoder` was called with;
            enough to build the same architecture again.
        origin: File and digest of the weights that it started from; None for none.
        normalization: Mean and standard deviation of the channels that published weights were
            trained with; None where the dataset's are right.
    """

    num_features: int
    recipe: dict[str, object]
    origin: dict[str, str] | None = None
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Features of normalized images, (b, c, h, w) -> (b, d)."""


ENCODERS: Registry[Encoder] = Registry(
    "encoder", package="dal_toolbox.encoders", entry_points="dal_toolbox.encoders"
)


def create_encoder(
    name: str,
    *,
    image_size: int,
    in_channels: int = 3,
    checkpoint: str | Path | None = None,
    **hyperparameters: object,
) -> Encoder:
    """Builds an encoder of the registry, or any model of timm, by name.

    Weights that are loaded from nowhere are drawn from torch's global generator.

    Args:
        name: A name of ``ENCODERS`` or of timm: ``"small"``, ``"resnet18"``, ``"coatnet_0_224"``.
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        checkpoint: File of weights to start from, see :func:`dal_toolbox.encoders.load_weights`. It
            says nothing of the architecture and is no part of ``recipe``.
        hyperparameters: Keywords of the factory, such as ``pretrained`` or ``stem``.

    Raises:
        UnknownName: Neither the registry nor timm knows the name.
        ValueError: A hyperparameter or a size is refused; the message begins with its name.
        UserError: The weights of ``checkpoint`` do not fit.
    """
    if checkpoint is not None:
        _check_checkpoint(checkpoint, hyperparameters.get("pretrained"))
    sizes = {"image_size": image_size, "in_channels": in_channels}
    encoder = _build(name, **sizes, **hyperparameters)
    encoder.recipe = {"name": name, **sizes, **hyperparameters}
    if checkpoint is not None:
        from dal_toolbox.encoders.state_dict import load_weights  # which knows Encoder

        load_weights(encoder, checkpoint)
        encoder.origin = _origin(Path(checkpoint))
    return encoder


def check_sizes(image_size: int, in_channels: int) -> None:
    """Checks sizes of images before a network is made for them.

    Raises:
        ValueError: One is no positive integer, or too large to be meant.
    """
    at_least(1, image_size=image_size, in_channels=in_channels)
    between(1, LARGEST_IMAGE, image_size=image_size)
    between(1, MOST_CHANNELS, in_channels=in_channels)


def check_rates(**values: float) -> None:
    """Checks for probabilities that leave something: from 0 to below 1."""
    non_negative(**values)
    for name, value in values.items():
        if value >= 1:
            raise ValueError(f"{name}={value!r}: must be a number from 0 to below 1")


def did_you_mean(name: object, known: Iterable[str], most: int = 2) -> str:
    """A hint at similar names, with a space before it; empty if there are none."""
    near = get_close_matches(str(name), list(dict.fromkeys(known)), n=most)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _check_checkpoint(checkpoint: object, pretrained: object) -> None:
    if pretrained:
        raise ValueError(f"checkpoint={checkpoint}: pretrained=true gives weights, too; choose one")
    if isinstance(checkpoint, str | PathLike) and str(checkpoint):
        with suppress(OSError, ValueError):  # names that no file can have
            if Path(checkpoint).exists():
                return
    raise ValueError(f"checkpoint={checkpoint!s}: no such file or folder")


def _build(name: str, **options: object) -> Encoder:
    if name in ENCODERS:
        return ENCODERS.build(name, **options)
    if is_timm_model(name):
        return ENCODERS.build("timm", model=name, **options)
    raise UnknownName(_unknown(name))


def _origin(path: Path) -> dict[str, str]:
    file = path / "encoder.safetensors" if path.is_dir() else path
    return {"file": str(path), "sha256": file_digest(file)}


def is_timm_model(name: object) -> bool:
    """Whether timm has a model of this name (a tag after a dot names its weights)."""
    import timm

    return isinstance(name, str) and timm.is_model(name)


def _unknown(name: str) -> str:
    import timm

    hint = did_you_mean(name, [*ENCODERS, *timm.list_models()])
    return f"no encoder '{name}'.{hint} Known: {', '.join(ENCODERS)}, and every model of timm"
