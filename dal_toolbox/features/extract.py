"""Features of images under an encoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dal_toolbox.arguments import at_least
from dal_toolbox.augment import EvalTransform
from dal_toolbox.datasets import ImageLoader, Images
from dal_toolbox.encoders import Encoder
from dal_toolbox.encoders.precision import (
    autocast_for,
    default_device,
    memory_format_for,
    resolve_precision,
)
from dal_toolbox.errors import UserError
from dal_toolbox.features.finite import rows_not_finite
from dal_toolbox.progress import track


class BadFeatures(UserError, ValueError):
    """An encoder whose output cannot be used as features."""


def extract_features(
    encoder: Encoder,
    images: Images,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int | None = None,
    batch_size: int = 512,
    num_workers: int = 0,
    device: str | torch.device = "auto",
    precision: str = "auto",
    dtype: torch.dtype = torch.float32,
    description: str = "features",
) -> Tensor:
    """Features of images without augmentation, in their order. Shape: (n, d), on the CPU.

    The encoder is used in evaluation mode and given back as it was: same device, same mode of every
    submodule, same batch statistics.

    Args:
        encoder: The encoder.
        images: The images.
        mean: Mean of each channel in [0, 1].
        std: Standard deviation of each channel.
        image_size: Height and width that the encoder gets; by default :func:`input_size`.
        batch_size: Images of a forward pass.
        num_workers: Processes that decode image files; arrays need none.
        device: ``cpu``, ``cuda``, …, or ``auto``.
        precision: ``32``, ``bf16``, ``16``, or ``auto`` by device.
        dtype: Number format of the result; float16 halves its size.
        description: Title of the progress bar.

    Raises:
        ValueError: An option is none that this machine can follow.
        BadFeatures: The output is not (b, num_features), or not finite in ``dtype``.
    """
    place, precision = check_options(batch_size, num_workers, device, precision)
    transform = EvalTransform(image_size or input_size(encoder, images), mean, std).to(place)
    loader = ImageLoader(images, batch_size, num_workers=num_workers)
    values = torch.empty(len(images), encoder.num_features, dtype=dtype)
    memory_format = memory_format_for(place)
    with evaluating(encoder, place), torch.inference_mode(), autocast_for(precision, place):
        for batch, _, rows in track(loader, description):
            inputs = transform(batch.to(place, non_blocking=True))
            features = encoder(inputs.contiguous(memory_format=memory_format)).to("cpu", dtype)
            part = values[int(rows[0]) : int(rows[0]) + len(rows)]
            _check(features, part, [images.names[row] for row in rows.tolist()])
            part.copy_(features)
    return values


def check_options(
    batch_size: int = 512,
    num_workers: int = 0,
    device: str | torch.device = "auto",
    precision: str = "auto",
) -> tuple[torch.device, str]:
    """The device and the precision that are meant; before any data is opened.

    Raises:
        ValueError: An option is none that this machine can follow.
    """
    at_least(1, batch_size=batch_size)
    at_least(0, num_workers=num_workers)
    place = default_device() if device == "auto" else _usable(device)
    return place, resolve_precision(precision, place)


def _usable(device: str | torch.device) -> torch.device:
    try:
        if not isinstance(device, str | torch.device):
            raise TypeError(f"a device cannot be {type(device).__name__}")
        place = torch.device(device)
        torch.zeros(1, device=place).cpu()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        here = "auto, cpu or cuda" if torch.cuda.is_available() else "auto or cpu"
        raise ValueError(f"device={device!r}: not on this machine; choose {here}") from error
    return place


def input_size(encoder: Encoder, images: Images) -> int:
    """Height and width that the encoder was made for, where images are stored larger; else theirs."""
    stored = images.shape[-1]
    recipe = getattr(encoder, "recipe", {})  # an encoder of another make may have none
    return min(stored, int(recipe.get("image_size", stored)))


@contextmanager
def evaluating(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode on a device; afterwards every submodule has its mode and place again."""
    modes = [(part, part.training) for part in module.modules()]
    home = next((tensor.device for tensor in module.state_dict().values()), device)
    module.eval().to(device)
    try:
        yield
    finally:
        module.to(home)
        for part, training in modes:
            part.training = training


def _check(features: Tensor, part: Tensor, names: Sequence[str]) -> None:
    if features.shape != part.shape:
        raise BadFeatures(
            f"the encoder made features of shape {tuple(features.shape)}; by its num_features, "
            f"{tuple(part.shape)} was wanted"
        )
    rows = rows_not_finite(features)
    if len(rows):
        raise BadFeatures(
            f"the encoder made NaN or numbers beyond {features.dtype} of {len(rows)} of "
            f"{len(names)} images, such as {names[rows[0]]!r}; look at its weights, or extract "
            "with precision=32 and dtype=float32"
        )
