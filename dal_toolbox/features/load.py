"""Features of a split: from the store, from an encoder, or the pixels themselves."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dal_toolbox.augment import EvalTransform
from dal_toolbox.datasets import Images
from dal_toolbox.datasets.names import as_utf8
from dal_toolbox.encoders import Encoder
from dal_toolbox.features.extract import check_options, extract_features, input_size
from dal_toolbox.features.features import Features
from dal_toolbox.features.spec import FeatureSpec, encoder_digest
from dal_toolbox.features.store import FeatureStore


def encoder_features(
    store: FeatureStore,
    encoder: Encoder,
    images: Images,
    split: str,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int | None = None,
    batch_size: int = 512,
    num_workers: int = 0,
    device: str = "auto",
    precision: str = "auto",
    dtype: torch.dtype = torch.float32,
    digest: str | None = None,
) -> Features:
    """Features of a split under an encoder; extracted only if the store does not hold them.

    Args:
        store: Where they are kept.
        encoder: The encoder.
        images: The images of the split.
        split: Its name, for the log.
        mean: Mean of each channel in [0, 1].
        std: Standard deviation of each channel.
        image_size: Height and width that the encoder gets; by default what it was made for.
        batch_size: Images of a forward pass.
        num_workers: Processes that decode image files.
        device: ``cpu``, ``cuda``, …, or ``auto``.
        precision: ``32``, ``bf16``, ``16``, or ``auto`` by device.
        dtype: Of the stored values.
        digest: :func:`encoder_digest` of the encoder, where it is known.

    Raises:
        ValueError: An option is none that this machine can follow.
    """
    place, precision = check_options(batch_size, num_workers, device, precision)
    size = image_size or input_size(encoder, images)
    spec = FeatureSpec(
        encoder=digest or encoder_digest(encoder),
        images=images.fingerprint,
        split=split,
        transform=EvalTransform(size, mean, std).key,
        dtype=str(dtype).removeprefix("torch."),
        precision=precision,
    )

    def compute() -> Features:
        values = extract_features(
            encoder, images, mean=mean, std=std, image_size=size, batch_size=batch_size,
            num_workers=num_workers, device=place, precision=precision, dtype=dtype,
            description=f"features of {split}",
        )  # fmt: skip
        return Features(values, torch.from_numpy(images.targets), _names(images), spec.key)

    return replace(store.get(spec, compute), items=images.batch)


def raw_features(images: Images, batch_size: int = 512) -> Features:
    """The pixels in [0, 1] as features, float32. Shape: (n, c · h · w)."""
    values = torch.empty(len(images), math.prod(images.shape))
    for start in range(0, len(images), batch_size):
        rows = np.arange(start, min(start + batch_size, len(images)))
        values[start : start + batch_size] = images.batch(rows).flatten(1) / 255
    return Features(
        values, torch.from_numpy(images.targets), _names(images), images.fingerprint,
        items=images.batch,
    )  # fmt: skip


def _names(images: Images) -> list[str]:
    """Names that are kept with features and labels, and must not depend on the locale."""
    return [as_utf8(name) for name in images.names]
