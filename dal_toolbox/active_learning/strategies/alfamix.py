"""ALFA-Mix: active learning by feature mixing (Parvaneh et al., 2022, https://arxiv.org/abs/2203.07034)."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick, fill_at_random
from dal_toolbox.active_learning.strategies._mixing import Head, head_of
from dal_toolbox.active_learning.strategies._pool import rows_of
from dal_toolbox.active_learning.strategies._predictions import fitted
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
)
from dal_toolbox.arguments import between
from dal_toolbox.progress import log

SMALLEST = 1e-4  # step of ε


@STRATEGIES.register("alfamix")
class AlfaMix(QueryStrategy):
    """Clusters the items whose prediction changes when a labeled class is mixed in a little.

    Anchors z* are the means of the labeled items of each class, and of all labeled items where a
    class has none. An item z is a candidate if, for one of them, the class of z + α(z* − z)
    differs, where α = ε ‖z* − z‖ ∇ / (‖∇‖ (z* − z)), elementwise, is the paper's closed form (Eq. 5)
    and ∇ the gradient of the loss at the predicted class. ε grows from ``epsilon``/√d in equal
    steps to 1/√d until there are more than n candidates. They are clustered by k-means into n
    groups (unit-norm features), and the item nearest to each centroid is taken, large clusters
    first, ties to the lowest index. Fewer than n candidates are filled up at random; at cold start
    all items are candidates; this is logged.

    The product α(z* − z) = ε ‖z* − z‖ ∇ / ‖∇‖ needs no division; so a feature in which z* and z
    agree moves as it does in the limit, while the authors' code leaves it. And all anchors lie on
    one ray: for a linear head the length at which the prediction changes is solved for, once,
    in float32, and in float64 where rounding could decide; O(N·d·C). Any other classifier that torch can differentiate is asked with each anchor,
    C predictions of an item for each ε; if it has no gradient, items are moved by the same length
    straight toward z*.

    Args:
        epsilon: First ε and step of ε, times √d; 1e-4 to 1.
    """

    needs = FEATURES | PREDICTIONS
    starts_cold = True  # clusters all items

    def __init__(self, *, epsilon: float = 0.2) -> None:
        between(SMALLEST, 1, epsilon=epsilon)
        self.epsilon = epsilon

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            log.info("AlfaMix needs a classifier: all items are candidates instead")
            return cluster_pick(context, context.unlabeled, n)
        candidates = context.unlabeled[self.changing(context, n)]
        return fill_at_random(context, cluster_pick(context, candidates, n), n)

    def changing(self, context: QueryContext, n: int) -> np.ndarray:
        """Whether an item is a candidate, at the first ε that gives more than n. Shape: (n_unlabeled,)."""
        head = head_of(fitted(context), context.features)
        anchors = class_means(head, context)
        caps = np.minimum(self.epsilon * np.arange(1, np.ceil(1 / self.epsilon) + 1), 1.0)
        epsilons = (caps / context.features.shape[1] ** 0.5).tolist()

        def inputs(positions: np.ndarray) -> Tensor:
            return head.inputs(context.features[rows_of(context, context.unlabeled[positions])])

        for change in head.growing(inputs, len(context.unlabeled), anchors, epsilons):
            if change.sum() > n:
                break
        return change


def class_means(head: Head, context: QueryContext) -> Tensor:
    """Means of the labeled items of each class; of all of them, last, if a class has none. Shape: (a, d)."""
    z = head.inputs(context.features[rows_of(context, context.labeled)])
    labels = context.labels.to(z.device)
    means = [z[labels == label].mean(dim=0) for label in labels.unique()]
    if len(means) < context.num_classes:
        means.append(z.mean(dim=0))
    return torch.stack(means)
