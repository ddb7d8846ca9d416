"""How well the views of an image find each other, in training and on held-out images."""

from collections.abc import Sequence
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor

from dal_toolbox.arguments import at_least
from dal_toolbox.augment import BatchAugment
from dal_toolbox.datasets import ImageLoader, Images
from dal_toolbox.errors import UserError
from dal_toolbox.features.extract import evaluating
from dal_toolbox.ssl._means import EpochMeans
from dal_toolbox.ssl.base import SSLMethod, check_views
from dal_toolbox.ssl.callbacks.features import is_due
from dal_toolbox.ssl.losses import contrastive_accuracy


class ContrastiveAccuracy(L.Callback):
    """Top-k accuracy of finding the other view in the batch, ``train/contrastive_top1`` and so on.

    Measured on the projections of the network that is trained. A method without negatives does not
    train for it; there it tells how well images are kept apart, and collapsed projections score 0.

    Args:
        topk: The values of k.
    """

    def __init__(self, topk: Sequence[int] = (1, 5)) -> None:
        for k in topk:
            at_least(1, topk=k)
        self.topk = tuple(topk)
        self._means = EpochMeans()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Adds the accuracy of a batch to the mean of the epoch."""
        self._means.add(_accuracies("train", outputs["projections"], self.topk))
        if trainer.is_last_batch:
            pl_module.log_dict(self._means.take(), on_step=False, on_epoch=True, batch_size=1)


class ValidationLoss(L.Callback):
    """The method's own loss on held-out images: the label-free way to choose a checkpoint.

    The views are the same in every evaluation, but the two of an image differ, else the loss would
    tell nothing. The loss depends on the batch size: compare it only between runs that share it.
    Logged as ``val/loss`` and ``val/contrastive_top1``.

    Args:
        val: Held-out images; labels are not used.
        augment: Makes the views; its own object, not that of the training.
        batch_size: Images of a batch.
        interval: Epochs between two evaluations.
        num_workers: Processes that decode files.
        seed: Fixes the views.

    Raises:
        ValueError: A number is out of its range.
        UserError: All views of an image are alike.
    """

    def __init__(
        self,
        val: Images,
        augment: BatchAugment,
        *,
        batch_size: int = 256,
        interval: int = 25,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        at_least(1, batch_size=batch_size, interval=interval)
        at_least(0, num_workers=num_workers)
        _check_random(augment, val.shape)
        self.augment = augment
        self.interval = interval
        self.seed = seed
        size = min(batch_size, len(val))
        self.loader = ImageLoader(val, size, drop_last=True, num_workers=num_workers)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuses too few or too many views before the training, not after its first epochs."""
        check_views(cast(SSLMethod, pl_module), self.augment)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluates, when it is due."""
        if is_due(trainer, self.interval):
            pl_module.log_dict(self.evaluate(trainer, cast(SSLMethod, pl_module)))

    @torch.no_grad()
    def evaluate(self, trainer: L.Trainer, method: SSLMethod) -> dict[str, Tensor]:
        """Means over the batches."""
        augment = self.augment.to(method.device)
        augment.seed(self.seed)
        means = EpochMeans()
        with evaluating(method, method.device), trainer.precision_plugin.forward_context():
            for images, _, _ in self.loader:
                outputs = method.loss(method.views(images.to(method.device), augment))
                top1 = _accuracies("val", outputs["projections"], (1,))
                means.add({"val/loss": outputs["loss"], **top1})
        return means.take()


def _check_random(augment: BatchAugment, shape: tuple[int, int, int]) -> None:
    """Refuses views that are copies of each other, by those of some noise."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (32, *shape), dtype=torch.uint8, generator=generator)
    views = augment.to("cpu").seed(0)(noise).chunk(len(augment.views))
    if len(views) > 1 and all(torch.equal(views[0], view) for view in views[1:]):
        raise UserError(
            "the views of the validation loss are all alike, so that it tells nothing; choose a "
            "random recipe for them, such as mild"
        )


def _accuracies(split: str, z: Tensor, topk: tuple[int, ...]) -> dict[str, Tensor]:
    values = contrastive_accuracy(z, topk)
    return {f"{split}/contrastive_top{k}": value for k, value in zip(topk, values, strict=True)}
