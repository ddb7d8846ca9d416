"""Temperature scaling of a classifier from its own labels (Guo et al., 2017, https://arxiv.org/abs/1706.04599)."""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.metrics import expected_calibration_error

TEMPERATURES = np.arange(10, 201) / 10  # 1.0, 1.1, …, 20.0


def temperature(context: QueryContext, num_folds: int) -> float:
    """The temperature with the smallest calibration error of held-out labeled items.

    Cross-validation: a copy of the classifier is fitted to the labels outside each fold. The lowest
    among equals; 1 where fewer than two items are labeled.
    """
    held_out = _held_out(context, min(num_folds, len(context.labels)))
    if held_out is None:
        return 1.0
    logits, labels = held_out
    errors = [expected_calibration_error(logits / t, labels) for t in TEMPERATURES.tolist()]
    return float(TEMPERATURES[int(np.round(errors, 12).argmin())])


def _held_out(context: QueryContext, num_folds: int) -> tuple[Tensor, Tensor] | None:
    """Logits (num_labeled, C) of items that the classifier did not see, and their labels."""
    if num_folds < 2 or context.classifier is None:
        return None
    device = context.features.device
    order = context.rng.permutation(len(context.labels))
    features = context.features[torch.from_numpy(context.labeled[order]).to(device)]
    labels = context.labels[torch.from_numpy(order).to(context.labels.device)].to(device)
    fold = torch.arange(len(labels), device=device) % num_folds
    logits = features.new_empty((len(labels), context.num_classes), dtype=torch.float64)
    for i in range(num_folds):
        classifier = deepcopy(context.classifier)  # that of the context stays as it is
        classifier.fit(features[fold != i], labels[fold != i])
        logits[fold == i] = classifier.logits(features[fold == i]).double()
    return logits, labels
