"""Metrics of a classifier and of a learning curve: pure functions of tensors.

Logits have the shape ``(n, C)``, targets ``(n,)``; every function returns a float. The formulas
are short and stand here: importing torchmetrics takes seconds and pulls in torchvision. The tests
compare with torchmetrics and scikit-learn.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.arguments import at_least


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of items whose most likely class is the target."""
    _check(logits, targets)
    return (logits.argmax(dim=1) == targets).double().mean().item()


def macro_accuracy(logits: Tensor, targets: Tensor) -> float:
    """Mean over the classes among ``targets`` of the share of their items that is recognized."""
    _check(logits, targets)
    correct = (logits.argmax(dim=1) == targets).double()
    totals = torch.bincount(targets)  # (C,)
    hits = torch.bincount(targets, weights=correct)
    return (hits[totals > 0] / totals[totals > 0]).mean().item()


def nll(logits: Tensor, targets: Tensor) -> float:
    """Mean negative log-likelihood of the targets, in nats."""
    _check(logits, targets)
    return F.cross_entropy(logits.double(), targets).item()


def brier(logits: Tensor, targets: Tensor) -> float:
    """Brier score of all classes, mean of ‖p − onehot(y)‖², in [0, 2] (Brier, 1950)."""
    _check(logits, targets)
    probabilities = logits.double().softmax(dim=1)
    errors = probabilities - F.one_hot(targets, logits.shape[1])
    return errors.square().sum(dim=1).mean().item()


def expected_calibration_error(logits: Tensor, targets: Tensor, num_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width.

    Naeini et al., 2015; Guo et al., 2017, Eq. 3, https://arxiv.org/abs/1706.04599.

    Args:
        logits: Shape ``(n, C)``.
        targets: Shape ``(n,)``.
        num_bins: Bins (0, 1/b], ..., (1 − 1/b, 1] of the confidence.
    """
    at_least(1, num_bins=num_bins)
    _check(logits, targets)
    confidence, predicted = logits.double().softmax(dim=1).max(dim=1)
    correct = (predicted == targets).double()
    bins = (confidence * num_bins).ceil().long().sub(1).clamp(0, num_bins - 1)  # (n,)
    gaps = torch.bincount(bins, weights=correct - confidence, minlength=num_bins)
    return gaps.abs().sum().item() / len(targets)


def area_under_learning_curve(
    num_labeled: Sequence[int] | Tensor, values: Sequence[float] | Tensor, *, log: bool = False
) -> float:
    """Mean height of the learning curve: its trapezoid area over the width of the label axis.

    Args:
        num_labeled: Labels at each point, strictly increasing.
        values: The metric at each point.
        log: Measure the label axis in log(labels), which weights every doubling equally.

    Raises:
        ValueError: Fewer than two points, unequal lengths or labels that do not increase.

    >>> round(area_under_learning_curve([10, 20, 40], [0.5, 0.7, 0.9]), 4)
    0.7333
    """
    labels = torch.as_tensor(num_labeled, dtype=torch.float64)
    heights = torch.as_tensor(values, dtype=torch.float64)
    if len(labels) < 2 or len(labels) != len(heights):
        raise ValueError(f"{len(labels)} label counts and {len(heights)} values: two or more each")
    if (labels.diff() <= 0).any() or labels[0] < int(log):
        raise ValueError(f"label counts must increase from {int(log)} or more: {labels.tolist()}")
    axis = labels.log() if log else labels
    return (torch.trapezoid(heights, axis) / (axis[-1] - axis[0])).item()


def _check(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(f"logits {tuple(logits.shape)} do not fit targets {tuple(targets.shape)}")
    if len(targets) == 0:
        raise ValueError("metrics of 0 items are undefined; check the test split")
    if not torch.isfinite(logits).all():
        count = int((~torch.isfinite(logits)).any(dim=1).sum())
        raise ValueError(f"the logits of {count} of {len(logits)} items hold NaN or infinity")
    if targets.min() < 0 or targets.max() >= logits.shape[1]:
        raise ValueError(
            f"targets lie in [{targets.min()}, {targets.max()}], "
            f"but the logits know classes 0 to {logits.shape[1] - 1}"
        )
