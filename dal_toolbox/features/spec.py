"""What features are computed from, and the key that follows from it."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256

import torch

from dal_toolbox.arguments import one_of
from dal_toolbox.encoders import Encoder

DTYPES = ("float16", "float32", "float64")  # bfloat16 is none of numpy's


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that decides the values of features.

    Args:
        encoder: Digest of architecture and weights (:func:`encoder_digest`).
        images: Fingerprint of the images.
        split: Name of the split.
        transform: What happens to the images before the encoder.
        dtype: Of the stored values.
        precision: Of the forward pass.

    Raises:
        ValueError: The store cannot hold ``dtype``.
    """

    encoder: str
    images: str
    split: str
    transform: str
    dtype: str
    precision: str = "32"

    def __post_init__(self) -> None:
        one_of(DTYPES, dtype=self.dtype)

    @property
    def key(self) -> str:
        """Hex digest of the specification."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def encoder_digest(encoder: Encoder) -> str:
    """Hex digest of an encoder's architecture, hyperparameters and weights."""
    recipe = dict(getattr(encoder, "recipe", {}))
    recipe.pop("pretrained", None)  # where weights come from; what they are follows below
    kind = f"{type(encoder).__module__}.{type(encoder).__qualname__}"
    digest = sha256(f"{kind}\n{sorted(recipe.items())}\n{encoder}".encode())
    for name, value in encoder.state_dict().items():
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        # As bytes: numpy knows no bfloat16. Reshaped first: a scalar cannot be viewed as bytes.
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()
