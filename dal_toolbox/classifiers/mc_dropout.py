"""Dropout as a posterior, on frozen features."""

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from dal_toolbox.arguments import at_least, between, inside, positive
from dal_toolbox.classifiers._heads import MAX_SAMPLES, head_probabilities
from dal_toolbox.classifiers._minibatch import MinibatchLinear
from dal_toolbox.classifiers.base import CLASSIFIERS, in_blocks


@CLASSIFIERS.register("mc_dropout")
class MCDropoutClassifier(MinibatchLinear):
    """Softmax regression trained under dropout of features, which goes on when it predicts.

    Gal and Ghahramani, 2016, https://arxiv.org/abs/1506.02142. A draw is one mask over features,
    the same for all items. Plain predictions use no dropout.

    Args:
        num_classes: Number of classes, C.
        dropout: Probability that a feature is left out.
        num_samples: Draws from the posterior, M.
        num_epochs: Passes over the labeled items.
        train_batch_size: Items of one step; less where there are few labeled items.
        val_batch_size: Items of one block of predictions.
        lr: First learning rate of AdamW; a cosine takes it to 0.
        weight_decay: Decoupled, of weights and bias.
        seed: Order of the items and masks of the training.
    """

    rate = "lr"
    settles = False  # it is trained under dropout

    def __init__(
        self,
        num_classes: int,
        *,
        dropout: float = 0.5,
        num_samples: int = 16,
        num_epochs: int = 100,
        train_batch_size: int = 32,
        val_batch_size: int = 512,
        lr: float = 1e-2,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(num_classes, num_epochs, train_batch_size, val_batch_size, seed)
        positive(lr=lr)
        between(0, 100, weight_decay=weight_decay)
        inside(0, 1, dropout=dropout)
        at_least(1, num_samples=num_samples)
        between(1, MAX_SAMPLES, num_samples=num_samples)
        self.dropout = dropout
        self.num_samples = num_samples
        self.lr = lr
        self.weight_decay = weight_decay

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        """Class probabilities under M masks, float32. Shape: (n, C, M)."""
        masks = self._mask((self.num_samples, features.shape[1]), rng).to(features.device)  # (M, d)
        weight = masks.T[:, :, None] * self.weight_.double().T[:, None]  # (d, M, C)
        bias = self.bias_.double().expand(self.num_samples, -1)

        def predict(block: Tensor) -> Tensor:
            return head_probabilities(block.double(), weight, bias)

        return in_blocks(predict, features, rows=1024)

    def _optimizer(self, weight: Tensor, batch_size: int) -> Optimizer:
        return AdamW([weight], self.lr, weight_decay=self.weight_decay)

    def _seen(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return x * self._mask(tuple(x.shape), rng).to(x)

    def _mask(self, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
        kept = rng.random(shape) >= self.dropout
        return torch.from_numpy(kept / (1 - self.dropout))
