"""Which evaluations a dataset allows during pretraining, and which of them may choose a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np

from dal_toolbox.augment import BatchAugment
from dal_toolbox.datasets import DatasetBundle, Images
from dal_toolbox.progress import log
from dal_toolbox.ssl.callbacks import (
    CleanFeatures,
    KNNEvaluation,
    LinearEvaluation,
    ValidationLoss,
)


@dataclass(frozen=True)
class Evaluation:
    """Callbacks, and the metric that chooses ``best.ckpt``."""

    callbacks: list[L.Callback]
    monitor: str | None


def plan_evaluation(
    bundle: DatasetBundle,
    *,
    augment: BatchAugment,
    train: Images | None = None,
    interval: int = 25,
    k: int = 20,
    temperature: float = 0.07,
    linear: Mapping[str, Any] | None = None,
    linear_interval: int = 50,
    train_batch_size: int = 256,
    predict_batch_size: int = 512,
    num_workers: int = 0,
    seed: int = 42,
) -> Evaluation:
    """The evaluations that the splits and labels of a dataset allow.

    With a validation split, its loss, k-NN and linear accuracy are measured, and the best k-NN
    accuracy, or without labels the lowest loss, chooses a checkpoint. The loss needs no label at
    all: where labels are to be bought later, ``monitor="val/loss"`` keeps the choice free of them.
    Without a validation split the test split shows the course of the training, and chooses nothing:
    ``best.ckpt`` is then the last epoch.

    Args:
        bundle: The dataset.
        augment: Makes the views of the validation loss; its own object, not that of the training.
        train: Labeled images on which k-NN and linear evaluation fit; those of the dataset by default.
        interval: Epochs between two evaluations of loss and k-NN.
        k: Number of neighbors; 0 leaves k-NN out.
        temperature: Of the votes of the neighbors.
        linear: Options of :class:`LinearEvaluation`; None leaves it out.
        linear_interval: Epochs between two linear evaluations.
        train_batch_size: Batch size of the training, on which the validation loss depends.
        predict_batch_size: Images of one forward pass.
        num_workers: Processes that decode files.
        seed: Of the views of the validation loss.
    """
    train = bundle.train if train is None else train
    held_out = bundle.test if bundle.val is None else bundle.val
    labeled = _has_labels(train) and _has_labels(held_out)
    callbacks: list[L.Callback] = []
    if bundle.val is not None:
        callbacks.append(
            ValidationLoss(
                bundle.val,
                augment,
                batch_size=train_batch_size,
                interval=interval,
                num_workers=num_workers,
                seed=seed,
            )
        )
    if labeled:
        features = CleanFeatures(
            train,
            held_out,
            split="test" if bundle.val is None else "val",
            mean=bundle.mean,
            std=bundle.std,
            batch_size=predict_batch_size,
            num_workers=num_workers,
        )
        if k > 0:
            knn = KNNEvaluation(
                features, bundle.num_classes, k=k, temperature=temperature, interval=interval
            )
            callbacks.append(knn)
        if linear is not None:
            callbacks.append(
                LinearEvaluation(features, bundle.num_classes, interval=linear_interval, **linear)
            )
    return Evaluation(callbacks, _monitor(bundle.val is not None, labeled and k > 0))


def _monitor(has_val: bool, has_knn: bool) -> str | None:
    if not has_val:
        log.info("no validation split: best.ckpt is the last epoch; the test set chooses nothing")
        return None
    monitor = "val/knn_accuracy" if has_knn else "val/loss"
    log.info("best.ckpt is chosen by %s", monitor)
    return monitor


def _has_labels(images: Images) -> bool:
    return bool(np.any(images.targets >= 0))
