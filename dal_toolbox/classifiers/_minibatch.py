"""Softmax regression by minibatches: what all its optimizers share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from dal_toolbox.arguments import at_least
from dal_toolbox.classifiers.base import check_training_data, in_blocks
from dal_toolbox.seeding import generator


class MinibatchLinear(ABC):
    """A linear classifier trained in epochs, from zero, with a cosine schedule per epoch."""

    weight_: Tensor  # (C, d)
    bias_: Tensor  # (C,)

    def __init__(
        self,
        num_classes: int,
        num_epochs: int,
        train_batch_size: int,
        val_batch_size: int,
        seed: int,
    ) -> None:
        at_least(1, num_classes=num_classes, num_epochs=num_epochs)
        at_least(1, train_batch_size=train_batch_size, val_batch_size=val_batch_size)
        at_least(0, seed=seed)
        self.num_classes = num_classes
        self.num_epochs = num_epochs
        self.train_batch_size = train_batch_size
        self.val_batch_size = val_batch_size
        self.seed = seed

    @abstractmethod
    def _optimizer(self, weight: Tensor, batch_size: int) -> Optimizer:
        """The optimizer of ``weight`` (C, d + 1), at its first learning rate."""

    def _seen(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """What a training step sees of features (b, d)."""
        return x

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        for _ in self.fit_epochs(features, labels):
            pass
        return self

    @torch.no_grad()
    def fit_epochs(self, features: Tensor, labels: Tensor) -> Iterator[int]:
        """Fits like ``fit`` and yields the number of every epoch, from 1, when it is done.

        In between the classifier predicts as that epoch left it: learning curves come from here.
        """
        check_training_data(features, labels, self.num_classes)
        n, d = features.shape
        batch_size = min(self.train_batch_size, n)
        rng = generator(self.seed, "linear_sgd")
        weight = torch.zeros(self.num_classes, d + 1, device=features.device)  # bias last
        self.weight_, self.bias_ = weight[:, :-1], weight[:, -1]
        optimizer = self._optimizer(weight, batch_size)
        first = optimizer.param_groups[0]["lr"]
        for epoch in range(self.num_epochs):
            cosine = (1 + math.cos(math.pi * epoch / self.num_epochs)) / 2
            optimizer.param_groups[0]["lr"] = first * cosine
            order = torch.from_numpy(rng.permutation(n)).to(features.device)
            for batch in order.split(batch_size):
                x = self._seen(features[batch].float(), rng)
                weight.grad = _gradient(weight, x, labels[batch])
                optimizer.step()
            yield epoch + 1

    def logits(self, features: Tensor) -> Tensor:
        return in_blocks(self._logits, features, self.val_batch_size)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features.float(), self.weight_, self.bias_)


def _gradient(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the mean cross entropy. Shape: (C, d + 1)."""
    x = F.pad(x, (0, 1), value=1.0)  # (b, d + 1)
    errors = (x @ weight.T).softmax(dim=1)  # (b, C)
    errors[torch.arange(len(y), device=y.device), y] -= 1
    return errors.T.contiguous() @ x / len(y)
