"""Awkward pools that every query strategy must survive."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import CHUNK_BYTES, QueryContext
from dal_toolbox.active_learning.pool import Pool
from dal_toolbox.classifiers import Classifier
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.seeding import generator

MakeClassifier = Callable[[int], Classifier]


class PosteriorClassifier:
    """Logistic regression, and around it a posterior of M = 4 draws."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.linear = LinearClassifier(num_classes)

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        self.linear.fit(features, labels)
        return self

    def logits(self, features: Tensor) -> Tensor:
        return self.linear.logits(features)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.linear.probabilities(features)

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        scale = torch.from_numpy(rng.lognormal(size=4)).to(features.device)
        return (self.logits(features).double()[:, :, None] * scale).softmax(dim=1)


class FixedClassifier:
    """Predicts the same for everybody, or is sure of a class that depends on the features."""

    def __init__(self, num_classes: int, *, certain: bool) -> None:
        self.num_classes = num_classes
        self.certain = certain

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        return self

    def logits(self, features: Tensor) -> Tensor:
        if not self.certain:
            return features.new_zeros(len(features), self.num_classes, dtype=torch.float32)
        chosen = (1000 * features.double().sum(dim=1)).long() % self.num_classes
        return 1e4 * F.one_hot(chosen, self.num_classes).float()

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        return self.probabilities(features)[:, :, None].expand(-1, -1, 4)


@dataclass(frozen=True, eq=False)
class Situation:
    """A pool, the labels in it and a way to learn from them."""

    features: Tensor  # (n, d)
    labeled: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    num_classes: int = 3
    make_classifier: MakeClassifier | None = None  # instead of the one that is asked for

    def context(
        self, make_classifier: MakeClassifier, *, chunk_bytes: int = CHUNK_BYTES, seed: int = 0
    ) -> QueryContext:
        return QueryContext(
            features=self.features.clone(),  # a strategy that changes them spoils no other check
            pool=Pool.from_history(len(self.features), [np.array(self.labeled, dtype=np.int64)]),
            labels=torch.tensor(self.labels, dtype=torch.int64),
            num_classes=self.num_classes,
            rng=generator(seed, "situation"),
            classifier=_fitted(self, make_classifier),
            cycle=1,
            chunk_bytes=chunk_bytes,
        )


@cache
def _fitted(situation: Situation, make_classifier: MakeClassifier) -> Classifier | None:
    if not situation.labels:
        return None
    classifier = (situation.make_classifier or make_classifier)(situation.num_classes)
    rows = situation.features[list(situation.labeled)]
    return classifier.fit(rows, torch.tensor(situation.labels, dtype=torch.int64))


def blobs(n: int, d: int = 8, num_classes: int = 3) -> tuple[Tensor, np.ndarray]:
    """Features ``(n, d)`` around one center per class, and the classes ``(n,)``."""
    rng = generator(0, "blobs")
    targets = rng.permutation(np.arange(n) % num_classes)
    centers = rng.normal(scale=2.0, size=(num_classes, d))
    features = centers[targets] + rng.normal(size=(n, d))
    return torch.from_numpy(features.astype(np.float32)), targets


@cache
def situations() -> dict[str, Situation]:
    """All of them, by name."""
    x, y = blobs(60)
    ten = tuple(range(50, 60)), tuple(y[50:60].tolist())
    constant = x.clone()
    constant[:, 2] = 1e3
    repeated = x[:15].repeat(4, 1)
    return {
        "ordinary": Situation(x, *ten),
        "cold start": Situation(x),
        "one label": Situation(x, (7,), (1,)),
        "one class seen": Situation(x, (5, 9, 30), (2, 2, 2)),
        "classes 3 and 7 only": Situation(x, (4, 8, 15, 16), (3, 7, 7, 3), num_classes=10),
        "two classes": Situation(x, (0, 1, 2), (0, 1, 1), num_classes=2),
        "200 classes": Situation(x, *ten, num_classes=200),
        "twelve items": Situation(x[:12], (3, 1), (0, 2)),
        "a single item": Situation(x[:1]),
        "one item left": Situation(x[:6], (0, 1, 2, 4, 5), (0, 1, 2, 0, 1)),
        "duplicates": Situation(repeated, (0, 16), (0, 1)),
        "duplicates, cold": Situation(repeated),
        "all equal": Situation(x[:1].repeat(30, 1), (3, 4), (0, 1)),
        "all equal, cold": Situation(x[:1].repeat(30, 1)),
        "all zero": Situation(torch.zeros(30, 4), (3, 4), (0, 1)),
        "constant feature": Situation(constant, *ten),
        "one feature": Situation(x[:, :1].contiguous(), *ten),
        "half precision": Situation(x.half(), *ten),
        "unit norm": Situation(F.normalize(x), *ten),
        "unit norm, cold": Situation(F.normalize(x)),
        "uniform predictions": Situation(
            x, *ten, make_classifier=lambda c: FixedClassifier(c, certain=False)
        ),
        "certain predictions": Situation(
            x, *ten, make_classifier=lambda c: FixedClassifier(c, certain=True)
        ),
    }


@cache
def scaled(scale: float) -> Situation:
    """Ordinary labeled items, the others of this size; one number of them if it is not finite."""
    x, y = blobs(60)
    x = x.double() if scale > 1e37 else x
    if isfinite(scale):
        x[10:] *= scale
    else:
        x[40, 2] = scale
    return Situation(x, tuple(range(10)), tuple(y[:10].tolist()))
