"""Linear evaluation: a linear classifier trained by SGD."""

import math
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.classifiers.base import CLASSIFIERS, check_training_data, in_blocks
from dal_toolbox.seeding import generator


@CLASSIFIERS.register("linear_sgd")
class LinearSGD:
    """Softmax regression by SGD with momentum and a cosine schedule, started at zero.

    The protocol of linear evaluation (Chen et al., 2020, appendix B.6,
    https://arxiv.org/abs/2002.05709): no regularization, no augmentation, features as they are.

    Args:
        num_classes: Number of classes, C.
        num_epochs: Passes over the labeled items.
        train_batch_size: Items of one step; fewer labeled items make one batch.
        val_batch_size: Items of one block of predictions.
        base_lr: First learning rate, times the size of a batch / 256.
        momentum: Of SGD.
        weight_decay: Of weights and bias.
        seed: Order of the items.
    """

    weight_: Tensor  # (C, d)
    bias_: Tensor  # (C,)

    def __init__(
        self,
        num_classes: int,
        *,
        num_epochs: int = 90,
        train_batch_size: int = 4096,
        val_batch_size: int = 512,
        base_lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.num_classes = num_classes
        self.num_epochs = num_epochs
        self.train_batch_size = train_batch_size
        self.val_batch_size = val_batch_size
        self.base_lr = base_lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.seed = seed

    @torch.no_grad()
    def fit(self, features: Tensor, labels: Tensor) -> Self:
        check_training_data(features, labels, self.num_classes)
        n, d = features.shape
        batch_size = min(self.train_batch_size, n)
        rng = generator(self.seed, "linear_sgd")
        weight = torch.zeros(self.num_classes, d + 1, device=features.device)  # bias last
        velocity = torch.zeros_like(weight)
        for epoch in range(self.num_epochs):
            cosine = (1 + math.cos(math.pi * epoch / self.num_epochs)) / 2
            lr = self.base_lr * batch_size / 256 * cosine
            order = torch.from_numpy(rng.permutation(n)).to(features.device)
            for batch in order.split(batch_size):
                gradient = _gradient(weight, features[batch], labels[batch])
                velocity = self.momentum * velocity + gradient + self.weight_decay * weight
                weight -= lr * velocity
        self.weight_, self.bias_ = weight[:, :-1], weight[:, -1]
        return self

    def logits(self, features: Tensor) -> Tensor:
        return in_blocks(self._logits, features, self.val_batch_size)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features.float(), self.weight_, self.bias_)


def _gradient(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the mean cross entropy. Shape: (C, d + 1)."""
    x = F.pad(x.float(), (0, 1), value=1.0)  # (b, d + 1)
    errors = (x @ weight.T).softmax(dim=1)  # (b, C)
    errors[torch.arange(len(y), device=y.device), y] -= 1
    return errors.T.contiguous() @ x / len(y)
