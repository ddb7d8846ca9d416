"""Stops a training whose loss is lost."""

from typing import Any

import lightning as L
import torch

from dal_toolbox.arguments import at_least
from dal_toolbox.errors import UserError
from dal_toolbox.ssl.base import SSLMethod


class NonFiniteLoss(UserError, FloatingPointError):
    """The loss became infinite or not a number."""


class FiniteLoss(L.Callback):
    """Raises when loss or weights are infinite or not a number, before they reach a checkpoint.

    Args:
        interval: Batches between two looks, each of which waits for the device.
    """

    def __init__(self, interval: int = 50) -> None:
        at_least(1, interval=interval)
        self.interval = interval

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Looks at the loss of every ``interval``-th and of the last batch of an epoch."""
        if (batch_idx + 1) % self.interval and not trainer.is_last_batch:
            return
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            raise diverged(f"the loss is {float(loss)}", trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks at the weights: the last step of a training has no loss after it."""
        trained: list[torch.Tensor] = [w for w in pl_module.parameters() if w.requires_grad]
        if trained and not torch.isfinite(torch.stack(torch._foreach_norm(trained))).all():
            raise diverged("the weights are not finite", trainer, pl_module)


def diverged(what: str, trainer: L.Trainer, method: L.LightningModule) -> NonFiniteLoss:
    """The error of a training that diverged, with the knobs that calm it.

    Args:
        what: What is not finite.
        trainer: The trainer, which knows the epoch.
        method: What was trained.
    """
    return NonFiniteLoss(_advice(what, trainer, method))


def _advice(what: str, trainer: L.Trainer, method: L.LightningModule) -> str:
    what = f"{what} in epoch {trainer.current_epoch + 1}"
    if not isinstance(method, SSLMethod):
        return f"{what}: lower the learning rate"
    optimization = method.optimization
    peak = optimization.learning_rate(method.batch_size)
    knobs = f"lower it (the peak learning rate is {peak:g}), "
    knobs += f"raise warmup_epochs (now {optimization.warmup_epochs:g})"
    if "temperature" in method.hparams:
        knobs += f", raise temperature (now {method.hparams['temperature']:g})"
    if trainer.precision != "32-true":
        knobs += f", or use precision=32 (now {trainer.precision})"
    return f"base_lr={optimization.base_lr:g}: {what}; {knobs}"
