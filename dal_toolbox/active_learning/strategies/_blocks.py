"""Predictions of the unlabeled items block by block, where (n_unlabeled, C) is too much memory."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import ROWS, NoClassifier, QueryContext
from dal_toolbox.classifiers import Classifier


def fitted(context: QueryContext) -> Classifier:
    """The classifier.

    Raises:
        NoClassifier: Cold start: there is no label to learn from.
    """
    if context.classifier is None:
        raise NoClassifier("no item is labeled yet: there is no classifier to ask")
    return context.classifier


def logit_blocks(context: QueryContext) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Dataset indices (b,) and logits (b, C) of the unlabeled items, in their order.

    The blocks are those of ``context.logits``, and so are the numbers.

    Raises:
        NoClassifier: Cold start.
    """
    classifier = fitted(context)
    logits: Tensor | None = context.__dict__.get("logits")  # somebody has paid for it
    for first in range(0, len(context.unlabeled), ROWS):
        indices = context.unlabeled[first : first + ROWS]
        if logits is not None:
            yield indices, logits[first : first + ROWS]
        else:
            yield indices, classifier.logits(context.features[rows_of(context, indices)])


def reduce_logits(context: QueryContext, function: Callable[[Tensor], Tensor]) -> np.ndarray:
    """What ``function`` makes of each row of the logits, (b, C) -> (b,). Shape: (n_unlabeled,).

    Raises:
        NoClassifier: Cold start.
    """
    parts = [function(logits).cpu().numpy() for _, logits in logit_blocks(context)]
    return np.concatenate([np.empty(0), *parts])


def score_predictions(context: QueryContext, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Scores of the predictions, float64 probabilities (b, C) -> (b,). Shape: (n_unlabeled,).

    Raises:
        NoClassifier: Cold start.
    """
    scores = context.features.new_empty(len(context.unlabeled), dtype=torch.float64)
    end = 0
    for _, logits in logit_blocks(context):
        start, end = end, end + len(logits)
        scores[start:end] = function(logits.double().softmax(dim=1))
    return scores


def rows_of(context: QueryContext, indices: np.ndarray) -> Tensor:
    """Indices as a tensor where the features are."""
    return torch.from_numpy(indices).to(context.features.device)
