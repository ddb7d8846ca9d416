"""Warns when all images get the same projection."""

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.arguments import at_least, non_negative
from dal_toolbox.progress import log


class CollapseMonitor(L.Callback):
    """Spread of the normalized projections, ``train/projection_std``: 1 on a sphere, 0 when collapsed.

    The standard deviation of z / ‖z‖ over a batch, times √d, mean over dimensions (Chen and He, 2021,
    Section 4.1, https://arxiv.org/abs/2011.10566), of the last batch of an epoch.

    Args:
        threshold: Spread below which a warning is logged, once.
        patience: Epochs without warning at the start: untrained projections are all alike.
    """

    def __init__(self, threshold: float = 0.1, patience: int = 5) -> None:
        non_negative(threshold=threshold)
        at_least(0, patience=patience)
        self.threshold = threshold
        self.patience = patience
        self.warned = False

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measures the last batch of an epoch."""
        if trainer.is_last_batch:
            spread = projection_std(outputs["projections"])
            pl_module.log("train/projection_std", spread, on_step=False, on_epoch=True)
            self._warn(float(spread), trainer)

    def _warn(self, spread: float, trainer: L.Trainer) -> None:
        if spread >= self.threshold or self.warned or trainer.current_epoch < self.patience:
            return
        self.warned = True
        log.warning(
            "epoch %d: the projections have nearly collapsed (spread %.3f of 1); lower the learning "
            "rate (base_lr), or use a larger batch or stronger augmentation",
            trainer.current_epoch + 1,
            spread,
        )


def projection_std(z: Tensor) -> Tensor:
    """√d · standard deviation over the batch of z / ‖z‖, mean over dimensions, for z (n, d)."""
    z = F.normalize(z.float(), dim=1)
    return torch.std(z, dim=0).mean() * z.shape[1] ** 0.5
