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


def byol_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Normalized squared error 2 − 2 cos(p, z') (Grill et al., 2020, Eq. 2, https://arxiv.org/abs/2006.07733).

    Mean over both directions, in [0, 4]; the paper adds them. Computed in float32 also under
    autocast. The targets get no gradient.

    Args:
        predictions: Rows i and i + n are two views of one image. Shape: (2n, d).
        targets: Projections of the target network, in the same order. Shape: (2n, d).
    """
    if len(predictions) % 2:
        raise ValueError(f"{len(predictions)} predictions are not two views each of some images")
    with torch.autocast(predictions.device.type, enabled=False):
        p = F.normalize(_float32(predictions), dim=1)
        z = F.normalize(_float32(targets.detach()), dim=1)
        z = z.roll(len(z) // 2, dims=0)  # the other view: i <-> i + n
        return (2 - 2 * (p * z).sum(dim=1)).mean()


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
    z = F.normalize(_float32(z), dim=1)
    return (z @ z.T).fill_diagonal_(float("-inf"))  # a view is not its own negative


def _float32(x: Tensor) -> Tensor:
    """At least float32; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _positives(z: Tensor) -> Tensor:
    return torch.arange(len(z), device=z.device).roll(len(z) // 2)  # i <-> i + n
