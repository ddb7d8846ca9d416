"""Logistic regression on frozen features, trained by AdamW."""

from torch import Tensor
from torch.optim import AdamW, Optimizer

from dal_toolbox.arguments import between, positive
from dal_toolbox.classifiers._minibatch import MinibatchLinear
from dal_toolbox.classifiers.base import CLASSIFIERS


@CLASSIFIERS.register("linear_adamw")
class LinearAdamW(MinibatchLinear):
    """Softmax regression by AdamW with a cosine schedule, started at zero.

    AdamW: Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101. It needs no scaling of
    features or learning rate, which SGD does.

    Args:
        num_classes: Number of classes, C.
        num_epochs: Passes over the labeled items.
        train_batch_size: Items of one step; less where there are few labeled items.
        val_batch_size: Items of one block of predictions.
        lr: First learning rate.
        weight_decay: Decoupled, of weights and bias.
        seed: Order of the items.
    """

    rate = "lr"

    def __init__(
        self,
        num_classes: int,
        *,
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
        self.lr = lr
        self.weight_decay = weight_decay

    def _optimizer(self, weight: Tensor, batch_size: int) -> Optimizer:
        return AdamW([weight], self.lr, weight_decay=self.weight_decay)
