"""Features of clean images under the present weights, shared by the evaluations of one epoch."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor

from dal_toolbox.arguments import at_least, one_of
from dal_toolbox.datasets import Images
from dal_toolbox.datasets.residency import ResidentImages
from dal_toolbox.encoders import Encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features import extract_features
from dal_toolbox.features.extract import BadFeatures
from dal_toolbox.ssl._memory import explained
from dal_toolbox.ssl.batches import EpochBatches
from dal_toolbox.ssl.callbacks.finite import diverged


@dataclass(frozen=True)
class Snapshot:
    """Features and labels of the images on which an encoder is fitted and tested."""

    train: Tensor  # (n, d)
    train_labels: Tensor  # (n,)
    test: Tensor  # (m, d)
    test_labels: Tensor  # (m,)


class CleanFeatures:
    """Extracts the features of labeled images once per optimizer step, for all who ask.

    Args:
        train: Images on which evaluations fit; those without label are left out.
        test: Images on which they measure; those without label are left out.
        split: What ``test`` is, the prefix of the metrics. Only ``val`` may choose a checkpoint.
        mean: Mean of every channel.
        std: Standard deviation of every channel.
        batch_size: Images of one forward pass.
        num_workers: Processes that decode files.

    Raises:
        UserError: One of the sets has no labels.
    """

    def __init__(
        self,
        train: Images,
        test: Images,
        *,
        split: Literal["val", "test"],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        batch_size: int = 512,
        num_workers: int = 0,
    ) -> None:
        one_of(["val", "test"], split=split)
        at_least(1, batch_size=batch_size)
        at_least(0, num_workers=num_workers)
        self.train = labeled_only(train, "train")
        self.test = labeled_only(test, split)
        self.split = split
        self.options: dict[str, Any] = {
            "mean": mean,
            "std": std,
            "batch_size": batch_size,
            "num_workers": num_workers,
        }
        self._step = -1
        self._snapshot: Snapshot | None = None

    def of(self, trainer: L.Trainer, method: L.LightningModule) -> Snapshot:
        """The features under the present weights of ``method``.

        Raises:
            NonFiniteLoss: They are not finite.
        """
        if self._snapshot is None or self._step != trainer.global_step:
            self._snapshot = None  # frees the old features first
            images = resident_copy(trainer, self.train)
            try:
                train = self._extract(method, images, "features of train")
                test = self._extract(method, self.test, f"features of {self.split}")
            except BadFeatures as error:
                raise diverged("the features are not finite", trainer, method) from error
            self._snapshot = Snapshot(
                train,
                torch.from_numpy(np.array(self.train.targets)),
                test,
                torch.from_numpy(np.array(self.test.targets)),
            )
            self._step = trainer.global_step
        return self._snapshot

    def _extract(self, method: L.LightningModule, images: Images, description: str) -> Tensor:
        size = self.options["batch_size"]
        argument, advice = f"predict_batch_size={size}", f"lower it to {max(1, size // 2)}"
        with explained(lambda: argument, lambda: advice):
            return extract_features(
                cast(Encoder, method.encoder),
                images,
                device=str(method.device),
                description=description,
                **self.options,
            )


def resident_copy(trainer: L.Trainer, images: Images) -> Images:
    """What the training has loaded of these images, which spares decoding them again; else them."""
    batches = trainer.train_dataloader
    loaded = batches.loader.images if isinstance(batches, EpochBatches) else images
    same = isinstance(loaded, ResidentImages) and loaded.source is images
    return loaded if same else images


def labeled_only(images: Images, split: str) -> Images:
    """The images that have a label.

    Raises:
        UserError: None has.
    """
    labeled = np.flatnonzero(images.targets >= 0)
    if len(labeled) == 0:
        raise UserError(
            f"the {split} images have no labels: evaluate without k-NN and linear evaluation"
        )
    return images if len(labeled) == len(images) else images.subset(labeled)


def is_due(trainer: L.Trainer, interval: int) -> bool:
    """Whether an evaluation of every ``interval`` epochs, and of the last, is due now."""
    epoch = trainer.current_epoch + 1
    return epoch % interval == 0 or epoch == trainer.max_epochs
