"""What every self-supervised method is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from dal_toolbox.encoders import Encoder
from dal_toolbox.errors import UserError
from dal_toolbox.registry import Registry
from dal_toolbox.ssl._means import EpochMeans
from dal_toolbox.ssl.optimization import Optimization, build_optimizer
from dal_toolbox.ssl.schedule import warmup_cosine_schedule

Batch = tuple[Tensor, Tensor, Tensor]  # images uint8 (b, c, h, w), targets (b,), indices (b,)


class SSLMethod(L.LightningModule, ABC):
    """A self-supervised method: an encoder, heads, and a loss on views.

    A subclass is final. It builds its heads in ``__init__`` and writes :meth:`loss`, and
    :meth:`after_step` where something follows the weights; views, optimizer, schedule and logging
    are done here. It trains in :func:`dal_toolbox.ssl.pretrain.pretrain` or, once
    :meth:`configure` was called, in any ``lightning.Trainer``.

    Constructor parameters with a default are hyperparameters, found in ``hparams``.

    Attributes:
        default_augmentation: Name of the recipe in ``dal_toolbox.augment`` that makes the views.
        num_views: Views of an image that the loss takes.
        has_negatives: Whether the loss contrasts an image with the others of its batch.
        encoder: What is kept after pretraining.
    """

    default_augmentation: ClassVar[str] = "simclr"
    num_views: ClassVar[int] = 2
    has_negatives: ClassVar[bool] = True
    encoder: Encoder

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["encoder"])  # plain values: loads with weights_only=True
        self.encoder = encoder
        self.optimization = Optimization()
        self.batch_size = self.optimization.base_batch_size
        self.augment: nn.Module = nn.Identity()
        self.memory_format = torch.contiguous_format
        self._means = EpochMeans()
        self._total_steps = 1
        self._training_loss = self.loss

    @abstractmethod
    def loss(self, views: Tensor) -> dict[str, Tensor]:
        """The loss of a batch of views.

        Args:
            views: All views, one view of every image after the other. Shape: (v · b, c, h, w).

        Returns:
            ``loss``; other scalars, which are logged; and, for evaluation, what else there is, detached:
            ``projections`` (v · b, d) in the order of the views.
        """

    def after_step(self, step: int, total: int) -> None:
        """Called after every optimizer step, of which accumulated batches share one.

        Args:
            step: Number of the step, from 0.
            total: Number of steps of the whole training.
        """

    def configure(
        self,
        augment: nn.Module,
        optimization: Optimization,
        batch_size: int,
        *,
        compile: bool = False,
    ) -> Self:
        """Sets what a run decides.

        Args:
            augment: uint8 images (b, c, h, w) -> views (v · b, c, h, w).
            optimization: Optimizer, learning rate, schedule.
            batch_size: Images of a batch, by which the learning rate is scaled.
            compile: Compiles the training step with ``torch.compile``.

        Raises:
            UserError: The augmentation makes another number of views than the loss takes.
        """
        check_views(self, augment)
        self.augment = augment
        self.optimization = optimization
        self.batch_size = batch_size
        self._training_loss = torch.compile(self.loss) if compile else self.loss
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """One batch; logs the means of the epoch. No value is read back from the device."""
        outputs = self._training_loss(self.views(batch[0]))
        self._means.add({f"train/{key}": x for key, x in outputs.items() if x.ndim == 0})
        if self.trainer.is_last_batch:
            self.log_dict(self._means.take(), on_step=False, on_epoch=True, batch_size=1)
        return outputs

    @torch.no_grad()
    def views(self, images: Tensor, augment: nn.Module | None = None) -> Tensor:
        """Augmented views of uint8 images, on their device, (b, c, h, w) -> (v · b, c, h, w)."""
        with torch.autocast(images.device.type, enabled=False):
            views = (augment or self.augment)(images)
        return views.contiguous(memory_format=self.memory_format)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step of the optimizer, and what the method does after it."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.trainer.global_step, self._total_steps)

    def on_fit_start(self) -> None:
        """Lays weights and views out so that convolutions are fast."""
        self.memory_format = fast_memory_format(self.encoder, self.device)
        self.to(memory_format=self.memory_format)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Optimizer, and warmup and cosine per optimizer step."""
        learning_rate = self.optimization.learning_rate(self.batch_size)
        optimizer = build_optimizer(self.parameters(), self.optimization, learning_rate)
        total = int(self.trainer.estimated_stepping_batches)  # knows about accumulation
        self._total_steps = total
        epochs = self.trainer.max_epochs or 1
        warmup = self.optimization.warmup_steps(total, epochs)
        min_ratio = min(1.0, self.optimization.min_lr / learning_rate)
        schedule = warmup_cosine_schedule(optimizer, total, warmup, min_ratio)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def check_views(method: SSLMethod, augment: nn.Module) -> None:
    """Refuses an augmentation that does not make the views which the loss takes.

    Raises:
        UserError: It makes fewer or more.
    """
    views = getattr(augment, "views", None)
    if isinstance(views, Sequence) and len(views) != method.num_views:
        raise UserError(
            f"the augmentation makes {len(views)} views of an image; {type(method).__name__} takes "
            f"{method.num_views}: choose another recipe"
        )


def fast_memory_format(encoder: nn.Module, device: torch.device) -> torch.memory_format:
    """The memory format in which an encoder trains fastest.

    ``channels_last``: on processors with AVX2 too, 1.3 times as fast for small ResNets. There oneDNN
    (of torch 2.15) writes past the end of a tensor in the gradient of a strided 1×1 convolution
    whose channels do not fill a vector, and crashes: such networks stay contiguous.
    """
    unsafe = device.type == "cpu" and any(
        layer.kernel_size == (1, 1) and layer.stride != (1, 1) and layer.in_channels % 8
        for layer in encoder.modules()
        if isinstance(layer, nn.Conv2d)
    )
    return torch.contiguous_format if unsafe else torch.channels_last


SSL_METHODS: Registry[SSLMethod] = Registry(
    "SSL method", package="dal_toolbox.ssl", entry_points="dal_toolbox.ssl_methods"
)
