"""Stops a training whose loss is lost."""

from typing import Any

import lightning as L
import torch

from dal_toolbox.errors import UserError
from dal_toolbox.ssl.base import SSLMethod


class NonFiniteLoss(UserError, FloatingPointError):
    """The loss became infinite or not a number."""


class FiniteLoss(L.Callback):
    """Raises when the loss is infinite or not a number, before such weights reach a checkpoint.

    Args:
        interval: Batches between two looks, each of which waits for the device.
    """

    def __init__(self, interval: int = 50) -> None:
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
            raise NonFiniteLoss(_advice(float(loss), trainer, pl_module))


def _advice(loss: float, trainer: L.Trainer, method: L.LightningModule) -> str:
    knobs = "lower optimizer.base_lr or raise optimizer.warmup_epochs"
    if isinstance(method, SSLMethod):
        peak = method.optimization.learning_rate(method.batch_size)
        knobs = f"lower optimizer.base_lr (the peak learning rate is {peak:g}), "
        knobs += f"raise optimizer.warmup_epochs (now {method.optimization.warmup_epochs:g})"
    if "temperature" in method.hparams:
        knobs += f", raise model.temperature (now {method.hparams['temperature']:g})"
    if trainer.precision != "32-true":
        knobs += f", or use precision=32 (now {trainer.precision})"
    return f"the loss is {loss} in epoch {trainer.current_epoch + 1}: {knobs}"
