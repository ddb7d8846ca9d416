"""Predictions of several linear heads at once: draws from a posterior."""

import torch
from torch import Tensor

MAX_SAMPLES = 10**6  # draws from a posterior: more are a mistake


def head_probabilities(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Probabilities of M heads in one product, float32, draw by draw in memory.

    The product is as precise as its operands: rounded from float64, identical items get
    identical probabilities.

    Args:
        x: Shape: (n, d).
        weight: Shape: (d, M, C).
        bias: Shape: (M, C).

    Returns:
        Shape: (n, C, M).
    """
    logits = torch.addmm(bias.flatten(), x, weight.flatten(1)).float()
    return logits.unflatten(1, bias.shape).softmax(dim=2).movedim(1, 2)
