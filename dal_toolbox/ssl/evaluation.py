"""Which evaluations a dataset allows during pretraining, and which of them may choose a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np

from dal_toolbox.augment import BatchAugment
from dal_toolbox.datasets import DatasetBundle, Images
from dal_toolbox.errors import UserError
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
    monitor: str = "auto",
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

    With a validation split, its loss, k-NN and linear accuracy are measured, and one of them, by
    default the k-NN accuracy, or without labels the loss, chooses a checkpoint whenever it improves.
    The loss needs no label at all: where labels are to be bought later, ``monitor="val/loss"`` keeps
    the choice free of them.
    Without a validation split the test split shows the course of the training, and chooses nothing:
    ``best.ckpt`` is then the last epoch.

    Args:
        bundle: The dataset.
        augment: Makes the views of the validation loss; its own object, not that of the training,
            and often a milder recipe.
        train: Labeled images on which k-NN and linear evaluation fit; those of the dataset by default.
        monitor: The metric that chooses ``best.ckpt``, ``auto``, or ``none``: the last epoch.
        interval: Epochs between two evaluations of loss and k-NN.
        k: Number of neighbors; 0 leaves k-NN out.
        temperature: Of the votes of the neighbors.
        linear: Options of :class:`LinearEvaluation`; None leaves it out.
        linear_interval: Epochs between two linear evaluations.
        train_batch_size: Batch size of the training, on which the validation loss depends.
        predict_batch_size: Images of one forward pass.
        num_workers: Processes that decode files.
        seed: Of the views of the validation loss.

    Raises:
        UserError: The monitor is not measured, or is one of the test set; or the views of the
            validation loss are all alike.
    """
    train = bundle.train if train is None else train
    held_out = bundle.test if bundle.val is None else bundle.val
    labeled = _has_labels(train) and held_out is not None and _has_labels(held_out)
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
    if labeled and held_out is not None:
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
    measured: list[str] = []
    if bundle.val is not None:
        measured += ["val/knn_accuracy"] if labeled and k > 0 else []
        measured += ["val/loss", "val/contrastive_top1"]
        measured += ["val/linear_accuracy"] if labeled and linear is not None else []
    return Evaluation(callbacks, _choose(monitor, measured))


def _choose(monitor: str, measured: list[str]) -> str | None:
    """The metric that chooses a checkpoint; the first of those measured unless one is named."""
    if monitor not in ("auto", "none", *measured):
        raise UserError(f"monitor={monitor}: {_objection(monitor, measured)}")
    if monitor == "none" or not measured:
        why = "monitor=none" if measured else "no validation split"
        log.info("%s: best.ckpt is the last epoch; the test set chooses nothing", why)
        return None
    chosen = measured[0] if monitor == "auto" else monitor
    log.info("best.ckpt is chosen by %s", chosen)
    return chosen


def _objection(monitor: str, measured: list[str]) -> str:
    if monitor.startswith("test/"):
        return (
            "the test set chooses nothing; name a metric of val/, or set a validation split apart"
        )
    choices = f"choose one of {', '.join(['auto', 'none', *measured])}"
    if measured:
        return f"not measured here; {choices}"
    return f"there is no validation split; set one apart (dataset.val_size=0.1), or {choices}"


def _has_labels(images: Images) -> bool:
    return bool(np.any(images.targets >= 0))
