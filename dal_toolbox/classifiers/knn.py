"""Weighted k-nearest neighbors."""

from typing import Self

from torch import Tensor

from dal_toolbox.arguments import at_least, inside, positive
from dal_toolbox.classifiers.base import CLASSIFIERS, check_num_classes, check_training_data
from dal_toolbox.neighbors import knn


@CLASSIFIERS.register("knn")
class KNNClassifier:
    """Votes of the k most similar items, weighted by exp(cosine / temperature).

    Wu et al., 2018, section 3.4, https://arxiv.org/abs/1805.01978. The share of the votes is mixed
    with the uniform distribution, p = (1 − s) votes + s/C, so that a class without a vote stays
    possible.

    Args:
        num_classes: Number of classes, C.
        k: Number of neighbors; all labeled items where there are fewer.
        temperature: The smaller, the more the nearest neighbors count.
        smoothing: Share s of the uniform distribution.
    """

    features_: Tensor  # (n, d)
    labels_: Tensor  # (n,)

    def __init__(
        self,
        num_classes: int,
        *,
        k: int = 20,
        temperature: float = 0.07,
        smoothing: float = 0.01,
    ) -> None:
        check_num_classes(num_classes)
        at_least(1, k=k)
        positive(temperature=temperature)
        inside(0, 1, smoothing=smoothing)
        self.num_classes = num_classes
        self.k = k
        self.temperature = temperature
        self.smoothing = smoothing

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        check_training_data(features, labels, self.num_classes)
        self.features_, self.labels_ = features, labels
        return self

    def logits(self, features: Tensor) -> Tensor:
        return self.probabilities(features).log().float()

    def probabilities(self, features: Tensor) -> Tensor:
        k = min(self.k, len(self.labels_))
        found = knn(features, self.features_, k, metric="cosine")
        # exp(-distance) = exp(cosine) up to a factor that the normalization removes
        weights = (-found.distances.double() / self.temperature).softmax(dim=1)  # (n, k)
        votes = weights.new_zeros(len(features), self.num_classes)
        votes.scatter_add_(1, self.labels_[found.indices], weights)  # (n, C)
        return (1 - self.smoothing) * votes + self.smoothing / self.num_classes
