"""Ensemble of logistic regressions on bootstrap samples."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.arguments import at_least, between, one_of, positive
from dal_toolbox.classifiers._heads import MAX_SAMPLES, head_probabilities
from dal_toolbox.classifiers.base import (
    CLASSIFIERS,
    check_num_classes,
    check_training_data,
    in_blocks,
)
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.seeding import generator


@CLASSIFIERS.register("ensemble")
class EnsembleClassifier:
    """Logistic regressions on items drawn with replacement: bagging (Breiman, 1996, https://doi.org/10.1007/BF00058655).

    From zero, all members would find the same solution: the problem is convex. Every member sees
    each class that has a label: an item of a class that was not drawn takes the place of another.
    Predictions are the mean of the members' probabilities.

    As a posterior, members differ by the labels alone, not by the prior: all of them start from zero
    and agree that classes without a label are unlikely. ``bald`` and its kin then look for such
    classes less than with ``laplace``, whose draws vary where no label is.

    Args:
        num_classes: Number of classes, C.
        num_members: Number of members, M.
        l2: Precision of the prior of every member.
        normalize: Scale every feature vector to unit norm.
        seed: Seed of the bootstrap samples.
    """

    members_: list[LinearClassifier]

    def __init__(
        self,
        num_classes: int,
        *,
        num_members: int = 10,
        l2: float = 0.01,
        normalize: bool = True,
        seed: int = 0,
    ) -> None:
        check_num_classes(num_classes)
        at_least(1, num_members=num_members)
        between(1, MAX_SAMPLES, num_members=num_members)
        positive(l2=l2)
        one_of((True, False), normalize=normalize)
        at_least(0, seed=seed)
        self.num_classes = num_classes
        self.num_members = num_members
        self.l2 = l2
        self.normalize = normalize
        self.seed = seed

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        check_training_data(features, labels, self.num_classes)
        rng = generator(self.seed, "ensemble")
        self.members_ = []
        for _ in range(self.num_members):
            rows = torch.from_numpy(bootstrap(labels.cpu().numpy(), rng)).to(features.device)
            member = LinearClassifier(self.num_classes, l2=self.l2, normalize=self.normalize)
            self.members_.append(member.fit(features[rows], labels[rows]))
        self._weight = torch.stack([member.weight_ for member in self.members_], dim=1)  # (d, M, C)
        self._bias = torch.stack([member.bias_ for member in self.members_])  # (M, C)
        return self

    def logits(self, features: Tensor) -> Tensor:
        return in_blocks(lambda block: self._mean(block).log().float(), features)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """Class probabilities of the members, float32. Shape: (n, C, M)."""
        prepare = self.members_[0]._prepare

        def predict(block: Tensor) -> Tensor:
            return head_probabilities(prepare(block), self._weight, self._bias)

        return in_blocks(predict, features, rows=1024)

    def _mean(self, features: Tensor) -> Tensor:
        total = sum(member.probabilities(features) for member in self.members_)
        return (torch.as_tensor(total) / self.num_members).clamp(min=1e-30)


def bootstrap(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many rows as there are labels, drawn with replacement; every class is among them.

    >>> labels = np.array([0] * 50 + [1])
    >>> bool((labels[bootstrap(labels, np.random.default_rng(0))] == 1).any())
    True
    """
    classes, first = np.unique(labels, return_index=True)
    rows = rng.integers(len(labels), size=len(labels))
    missing = first[~np.isin(classes, labels[rows])]
    counts = np.bincount(labels[rows])
    for row in missing:  # in place of an item of the largest class
        largest = np.flatnonzero(labels[rows] == counts.argmax())[0]
        counts[labels[rows[largest]]] -= 1
        rows[largest] = row
    return rows
