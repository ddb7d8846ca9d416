"""Rows of unit norm: directions, which cosine distances compare."""

import torch
from torch import Tensor

from dal_toolbox.neighbors._sides import NotFinite

BLOCK = 2**11  # rows that are scaled at a time: they stay in the cache
TOLERANCE = 2.0**-20  # of a norm in float32, within which it is 1
SMALLEST = 1e-12  # norm by which rows near zero are divided


def unit_norm(features: Tensor) -> Tensor:
    """The rows scaled to unit norm, float32: the features themselves where all have it already.

    Rows of zeros, and rows whose norm is within 1e-6 of 1, stay as they are, whatever the others.

    Args:
        features: Any float type, possibly memory-mapped. Shape: (n, d).

    Raises:
        NotFinite: A row holds NaN, infinity, or numbers whose squares are beyond float32.
    """
    if features.dtype == torch.float32 and all(map(_is_unit, features.split(BLOCK))):
        return features
    unit = features.new_empty(features.shape, dtype=torch.float32)
    for source, target in zip(features.split(BLOCK), unit.split(BLOCK), strict=True):
        rows = source.float()
        norms = torch.linalg.vector_norm(rows, dim=1)
        if not torch.isfinite(norms).all():
            raise NotFinite("features hold NaN, infinity or numbers too large for float32")
        divisors = norms.clamp(min=SMALLEST).masked_fill_(_near_one(norms), 1)
        torch.div(rows, divisors[:, None], out=target)
    return unit


def _is_unit(rows: Tensor) -> bool:
    return bool(_near_one(torch.linalg.vector_norm(rows, dim=1)).all())


def _near_one(norms: Tensor) -> Tensor:
    return (norms - 1).abs() <= TOLERANCE
