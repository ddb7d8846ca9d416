"""What every encoder is, and how one is made from its name."""

from abc import ABC, abstractmethod
from difflib import get_close_matches
from hashlib import file_digest
from pathlib import Path

from torch import Tensor, nn

from dal_toolbox.errors import UserError
from dal_toolbox.registry import Registry, UnknownName


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

    Args:
        name: A name of ``ENCODERS`` or of timm: ``"small"``, ``"resnet18"``, ``"coatnet_0_224"``.
        image_size: Height and width of the images, in pixels.
        in_channels: Channels of the images.
        checkpoint: File of weights to start from, see :func:`dal_toolbox.encoders.load_weights`. It
            says nothing of the architecture and is no part of ``recipe``.
        hyperparameters: Keywords of the factory, such as ``pretrained`` or ``stem``.

    Raises:
        UnknownName: Neither the registry nor timm knows the name.
        UserError: The weights of ``checkpoint`` do not fit.
    """
    if checkpoint is not None and hyperparameters.get("pretrained"):
        raise UserError(
            f"encoder.pretrained=true and encoder.checkpoint={checkpoint}: both give weights; "
            "choose one"
        )
    sizes = {"image_size": image_size, "in_channels": in_channels}
    encoder = _build(name, **sizes, **hyperparameters)
    encoder.recipe = {"name": name, **sizes, **hyperparameters}
    if checkpoint is not None:
        from dal_toolbox.encoders.state_dict import load_weights  # which knows Encoder

        load_weights(encoder, checkpoint)
        encoder.origin = _origin(Path(checkpoint))
    return encoder


def _build(name: str, **options: object) -> Encoder:
    if name in ENCODERS:
        return ENCODERS.build(name, **options)
    if is_timm_model(name):
        return ENCODERS.build("timm", model=name, **options)
    raise UnknownName(_unknown(name))


def _origin(path: Path) -> dict[str, str]:
    file = path / "encoder.safetensors" if path.is_dir() else path
    with file.open("rb") as stream:
        return {"file": str(path), "sha256": file_digest(stream, "sha256").hexdigest()}


def is_timm_model(name: str) -> bool:
    """Whether timm has a model of this name (a tag after a dot names its weights)."""
    import timm

    return timm.is_model(name)


def _unknown(name: str) -> str:
    import timm

    near = get_close_matches(name, [*ENCODERS, *timm.list_models()], n=2)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"no encoder '{name}'.{hint} Known: {', '.join(ENCODERS)}, and every model of timm"
