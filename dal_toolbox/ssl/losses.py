"""Losses of self-supervised methods, as pure functions of the projections."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """Normalized temperature-scaled cross entropy (Chen et al., 2020, Eq. 1, https://arxiv.org/abs/2002.05709).

    Computed in float32 also under autocast: logits in bfloat16 would be off by percents at small
    temperatures.

    Args:
        z: Projections; rows i and i + n are two views of one image. Shape: (2n, d).
        temperature: Divides the cosine similarities.
    """
    with torch.autocast(z.device.type, enabled=False):
        logits = _similarities(z) / temperature  # (2n, 2n)
        return F.cross_entropy(logits, _positives(z))


@torch.no_grad()
def contrastive_accuracy(z: Tensor, topk: Sequence[int] = (1, 5)) -> tuple[Tensor, ...]:
    """Shares of views whose other view is among their k nearest in the batch.

    Ties count against the positive, so that collapsed projections score 0.

    Args:
        z: Projections; rows i and i + n are two views of one image. Shape: (2n, d).
        topk: The values of k.

    Returns:
        One scalar in [0, 1] for every k.
    """
    with torch.autocast(z.device.type, enabled=False):
        similarities = _similarities(z)
    positive = similarities.gather(1, _positives(z)[:, None])  # (2n, 1)
    rank = (similarities >= positive).sum(dim=1)  # 1: the positive is the nearest
    return tuple((rank <= k).float().mean() for k in topk)


def _similarities(z: Tensor) -> Tensor:
    if len(z) % 2:
        raise ValueError(f"{len(z)} projections are not two views each of some images")
    z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
    return (z @ z.T).fill_diagonal_(float("-inf"))  # a view is not its own negative


def _positives(z: Tensor) -> Tensor:
    return torch.arange(len(z), device=z.device).roll(len(z) // 2)  # i <-> i + n
