"""What a classifier on features is, and the registry of classifiers."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.arguments import at_least, between
from dal_toolbox.neighbors import NotFinite
from dal_toolbox.registry import BrokenPlugin, Registry

MAX_CLASSES = 10**7  # more are a mistake, and no memory holds their weights


@runtime_checkable
class Classifier(Protocol):
    """A classifier on frozen features.

    ``num_classes`` is given, not counted: classes may be missing from the labels, and still get
    a finite logit. ``fit`` starts anew every time and is deterministic.
    """

    num_classes: int

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        """Fits to features ``(n, d)``, float16 or wider, and int64 labels ``(n,)``, n ≥ 1."""
        ...

    def logits(self, features: Tensor) -> Tensor:
        """Finite scores, float32, shape ``(n, C)``."""
        ...

    def probabilities(self, features: Tensor) -> Tensor:
        """Softmax of the logits, float64, shape ``(n, C)``."""
        ...


@runtime_checkable
class BayesianClassifier(Classifier, Protocol):
    """A classifier with a posterior to draw from (ensemble, Laplace, dropout)."""

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """Class probabilities under M draws from the posterior, shape ``(n, C, M)``."""
        ...


CLASSIFIERS: Registry[Classifier] = Registry(
    "classifier", package="dal_toolbox.classifiers", entry_points="dal_toolbox.classifiers"
)


def with_posterior() -> list[str]:
    """Names of the registered classifiers with a posterior."""
    names = []
    for name in CLASSIFIERS:
        with suppress(BrokenPlugin):
            names += [name] if hasattr(CLASSIFIERS[name], "samples") else []
    return names


def in_blocks(function: Callable[[Tensor], Tensor], features: Tensor, rows: int = 8192) -> Tensor:
    """Applies ``function`` to blocks of rows: memory-mapped features are never copied whole."""
    if len(features) <= rows:
        return function(features)
    return torch.cat([function(block) for block in features.split(rows)])


def check_num_classes(num_classes: int) -> None:
    """Raises ValueError for what is no number of classes."""
    at_least(1, num_classes=num_classes)
    between(1, MAX_CLASSES, num_classes=num_classes)


def check_training_data(features: Tensor, labels: Tensor, num_classes: int) -> None:
    """The border of every ``fit``.

    Raises:
        ValueError: No item, shapes that do not fit, labels that are no class, features that are
            not finite or whose squares are beyond float32.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features {tuple(features.shape)} with labels {tuple(labels.shape)}")
    if len(labels) == 0:
        raise ValueError("a classifier cannot be fitted to 0 labels; label at least one item")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels lie in [{labels.min()}, {labels.max()}]; num_classes={num_classes} "
            f"allows 0 to {num_classes - 1}"
        )
    if not torch.isfinite(torch.linalg.vector_norm(features.float(), dim=1)).all():
        raise NotFinite(
            "the features of the labeled items hold NaN, infinity or numbers too large for float32"
        )
