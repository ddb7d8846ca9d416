"""How a method is optimized: optimizer, learning rate, schedule."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from dal_toolbox.arguments import at_least, between, non_negative, one_of, positive
from dal_toolbox.ssl.lars import LARS

OptimizerName = Literal["sgd", "lars", "adamw"]
LearningRateScaling = Literal["none", "linear", "sqrt"]
LARGEST = 1e6  # stands for "as large as you like": beyond it float32 overflows


@dataclass(frozen=True)
class Optimization:
    """Optimizer and schedule; the defaults are a SimCLR recipe for CIFAR-10.

    SGD decays all parameters, as published CIFAR recipes do; LARS and AdamW decay none with
    ``ndim`` ≤ 1 (biases, normalization).

    Args:
        name: The optimizer.
        base_lr: Learning rate before the scaling.
        weight_decay: L2 penalty (SGD, LARS) or decoupled decay (AdamW).
        momentum: Of SGD and LARS; the first beta of AdamW.
        lr_scaling: The learning rate is ``base_lr`` (``none``), times batch size / ``base_batch_size``
            (``linear``), or times its square root (``sqrt``). Accumulated batches do not count:
            they add no negatives.
        base_batch_size: The batch size to which ``base_lr`` belongs.
        warmup_epochs: Epochs, or parts of one, of linear warmup.
        warmup_share: The same as a share of the whole training, in [0, 1].
        min_lr: Learning rate at the end of the cosine.
        trust_coefficient: η of LARS.

    Raises:
        ValueError: An unknown name, a number out of its range, or a warmup given twice.
    """

    name: OptimizerName = "sgd"
    base_lr: float = 0.06
    weight_decay: float = 5e-4
    momentum: float = 0.9
    lr_scaling: LearningRateScaling = "linear"
    base_batch_size: int = 256
    warmup_epochs: float = 0.0
    warmup_share: float = 0.0
    min_lr: float = 0.0
    trust_coefficient: float = 0.001

    def __post_init__(self) -> None:
        one_of(get_args(OptimizerName), name=self.name)
        one_of(get_args(LearningRateScaling), lr_scaling=self.lr_scaling)
        positive(base_lr=self.base_lr, trust_coefficient=self.trust_coefficient)
        at_least(1, base_batch_size=self.base_batch_size)
        non_negative(warmup_epochs=self.warmup_epochs)
        for key in ("base_lr", "weight_decay", "min_lr", "trust_coefficient"):
            between(0, LARGEST, **{key: getattr(self, key)})
        between(0, 1, momentum=self.momentum, warmup_share=self.warmup_share)
        if self.momentum == 1:
            raise ValueError(f"momentum={self.momentum!r}: must be below 1")
        if self.warmup_share and self.warmup_epochs:
            raise ValueError(
                f"warmup_share={self.warmup_share:g}: leave it at 0, or warmup_epochs="
                f"{self.warmup_epochs:g}; both set the warmup"
            )

    def learning_rate(self, batch_size: int) -> float:
        """The peak learning rate at a batch size.

        >>> Optimization(base_lr=0.3, lr_scaling="sqrt").learning_rate(1024)
        0.6
        """
        ratio = batch_size / self.base_batch_size
        return self.base_lr * {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[self.lr_scaling]

    def warmup_steps(self, total: int, epochs: int) -> int:
        """Optimizer steps of the warmup, of ``total`` steps in ``epochs`` epochs.

        >>> Optimization(warmup_share=0.1).warmup_steps(total=1000, epochs=50)
        100
        """
        share = self.warmup_share or self.warmup_epochs / epochs
        return round(total * min(1.0, share))

    def describe(self, batch_size: int) -> str:
        """The learning rate and how it came about, for the log."""
        ratio = f"{batch_size}/{self.base_batch_size}"
        factor = {"none": "", "linear": f" * {ratio}", "sqrt": f" * sqrt({ratio})"}[self.lr_scaling]
        warmup = f"{self.warmup_epochs:g} epochs"
        if self.warmup_share:
            warmup = f"{100 * self.warmup_share:g} % of all steps"
        return (
            f"{self.name}, learning rate {self.learning_rate(batch_size):g} = {self.base_lr:g}{factor} "
            f"(lr_scaling={self.lr_scaling}), weight decay {self.weight_decay:g}, "
            f"warmup of {warmup}, cosine to {self.min_lr:g}"
        )


def build_optimizer(
    parameters: Iterable[nn.Parameter], optimization: Optimization, learning_rate: float
) -> Optimizer:
    """The optimizer of the parameters that want a gradient."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    decay, momentum = optimization.weight_decay, optimization.momentum
    if optimization.name == "sgd":
        return SGD(trained, learning_rate, momentum=momentum, weight_decay=decay, fused=True)
    if optimization.name == "lars":
        eta = optimization.trust_coefficient
        return LARS(
            trained, learning_rate, momentum=momentum, weight_decay=decay, trust_coefficient=eta
        )
    groups = [
        {"params": [w for w in trained if w.ndim > 1], "weight_decay": decay},
        {"params": [w for w in trained if w.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, learning_rate, betas=(float(momentum), 0.999), fused=True)
