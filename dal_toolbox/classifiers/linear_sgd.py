"""Linear evaluation: a linear classifier trained by SGD."""

from torch import Tensor
from torch.optim import SGD, Optimizer

from dal_toolbox.arguments import between, positive
from dal_toolbox.classifiers._minibatch import MinibatchLinear
from dal_toolbox.classifiers.base import CLASSIFIERS

MAX_MOMENTUM = 0.999


@CLASSIFIERS.register("linear_sgd")
class LinearSGD(MinibatchLinear):
    """Softmax regression by SGD with momentum and a cosine schedule, started at zero.

    The protocol of linear evaluation (Chen et al., 2020, appendix B.6,
    https://arxiv.org/abs/2002.05709): no regularization, no augmentation, features as they are.

    Args:
        num_classes: Number of classes, C.
        num_epochs: Passes over the labeled items.
        train_batch_size: Items of one step; less where there are few labeled items.
        val_batch_size: Items of one block of predictions.
        base_lr: First learning rate, times the size of the batch in use / 256.
        momentum: Of SGD.
        weight_decay: Of weights and bias.
        seed: Order of the items.
    """

    rate = "base_lr"

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
        super().__init__(num_classes, num_epochs, train_batch_size, val_batch_size, seed)
        positive(base_lr=base_lr)
        between(0, MAX_MOMENTUM, momentum=momentum)
        between(0, 1, weight_decay=weight_decay)
        self.base_lr = base_lr
        self.momentum = momentum
        self.weight_decay = weight_decay

    def _optimizer(self, weight: Tensor, batch_size: int) -> Optimizer:
        lr = self.base_lr * batch_size / 256
        return SGD([weight], lr, momentum=self.momentum, weight_decay=self.weight_decay)
