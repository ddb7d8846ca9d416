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

from dal_toolbox.arguments import at_least, between
from dal_toolbox.classifiers._lbfgs import descend
from dal_toolbox.classifiers.base import (
    check_num_classes,
    check_training_data,
    in_blocks,
)
from dal_toolbox.progress import log
from dal_toolbox.seeding import generator

STEPS = 12  # of an epoch at least …
SMALL = 64  # … unless batches would be smaller than that
UNSETTLED = 0.1  # nats of the mean loss that a few steps of L-BFGS may gain without a warning
MAX_EPOCHS = 10**6
ROWS = 8192  # of a block of the whole loss


class MinibatchLinear(ABC):
    """A linear classifier trained in epochs, from zero, with a cosine schedule per epoch.

    A batch is at most one twelfth of the labeled items, but not below 64 of them for that reason: an
    epoch of one or two steps at the learning rate of a large batch ends far from the minimum. If
    the loss has not settled after the last epoch, a warning is logged.
    """

    weight_: Tensor  # (C, d)
    bias_: Tensor  # (C,)
    rate: str  # name of the argument that scales the learning rate
    settles = True  # the loss of training is the one that predictions have

    def __init__(
        self,
        num_classes: int,
        num_epochs: int,
        train_batch_size: int,
        val_batch_size: int,
        seed: int,
    ) -> None:
        check_num_classes(num_classes)
        at_least(1, num_epochs=num_epochs)
        between(1, MAX_EPOCHS, num_epochs=num_epochs)
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
        batch_size = min(self.train_batch_size, max(SMALL, n // STEPS), n)
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
            if epoch + 1 == self.num_epochs:
                self._check_end(features, labels, weight)
            yield epoch + 1

    def logits(self, features: Tensor) -> Tensor:
        return in_blocks(self._logits, features, self.val_batch_size)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def _check_end(self, features: Tensor, labels: Tensor, weight: Tensor) -> None:
        if not torch.isfinite(weight).all():
            rate = getattr(self, self.rate)
            raise ValueError(f"{self.rate}={rate!r}: the training diverged; choose a smaller one")
        if not self.settles:
            return
        loss, gain = possible_gain(features, labels, weight)
        if gain > UNSETTLED:
            log.warning(
                "%s: the mean loss %.3f has not settled after %d epochs (three steps of L-BFGS take "
                "off %.3f): change num_epochs, %s or the scale of the features",
                type(self).__name__,
                loss,
                self.num_epochs,
                gain,
                self.rate,
            )

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features.float(), self.weight_, self.bias_)


def _gradient(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the mean cross entropy. Shape: (C, d + 1)."""
    x = F.pad(x, (0, 1), value=1.0)  # (b, d + 1)
    errors = (x @ weight.T).softmax(dim=1)  # (b, C)
    errors[torch.arange(len(y), device=y.device), y] -= 1
    return errors.T.contiguous() @ x / len(y)


def possible_gain(features: Tensor, labels: Tensor, weight: Tensor) -> tuple[float, float]:
    """The mean cross entropy, and what three steps of L-BFGS take off it: five more passes.

    Args:
        features: Shape: (n, d).
        labels: Shape: (n,).
        weight: Bias last. Shape: (C, d + 1).
    """
    squares = [block.float().square().sum(dim=1).double() + 1 for block in features.split(ROWS)]
    scale = float((2 / torch.cat(squares).mean()).sqrt())  # a step of gradient descent is safe

    def objective(b: Tensor) -> tuple[Tensor, Tensor]:
        w = (scale * b).float()
        value, gradient = b.new_zeros(()), torch.zeros_like(b)
        for x, y in zip(features.split(ROWS), labels.split(ROWS), strict=True):
            x = x.float()
            value += F.cross_entropy(F.linear(x, w[:, :-1], w[:, -1]), y, reduction="sum").double()
            gradient += (scale * len(y)) * _gradient(w, x, y).double()
        return value / len(labels), gradient / len(labels)

    start = weight.double() / scale
    end, _, _ = descend(objective, start, tolerance=0.0, max_iterations=3)
    before, after = float(objective(start)[0]), float(objective(end)[0])
    return before, before - after
