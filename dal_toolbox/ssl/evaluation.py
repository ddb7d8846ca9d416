"""Which evaluations a dataset allows during pretraining, and which of them may choose a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np

from dal_toolbox.arguments import at_least, one_of, positive
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

# Metrics that may choose a checkpoint, in the order of preference; those with labels by their words.
MONITORS = {
    "val/knn_accuracy": "k-NN accuracy",
    "val/loss": None,
    "val/contrastive_top1": None,
    "val/linear_accuracy": "linear accuracy",
}


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated during a pretraining.

    Attributes:
        callbacks: The evaluations.
        monitor: The metric that chooses ``best.ckpt``; None: it is the last epoch.
        labels_used: How labels take part in that choice; None where they do not.
    """

    callbacks: list[L.Callback]
    monitor: str | None
    labels_used: str | None


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """The evaluations that are wanted; :meth:`on` leaves out those that a dataset does not allow.

    With a validation split, its loss, k-NN and linear accuracy are measured, and one of them, by
    default the k-NN accuracy, or without labels the loss, chooses a checkpoint whenever it improves.
    The loss needs no label at all: where labels are to be bought later, ``monitor="val/loss"`` keeps
    the choice free of them.
    Without a validation split the test split shows the course of the training, and chooses nothing:
    ``best.ckpt`` is then the last epoch.

    Args:
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
        ValueError: A number is out of its range, or no monitor has this name.
        UserError: The monitor is one of the test set.
    """

    monitor: str = "auto"
    interval: int = 25
    k: int = 20
    temperature: float = 0.07
    linear: Mapping[str, Any] | None = None
    linear_interval: int = 50
    train_batch_size: int = 256
    predict_batch_size: int = 512
    num_workers: int = 0
    seed: int = 42

    def __post_init__(self) -> None:
        at_least(1, interval=self.interval, linear_interval=self.linear_interval)
        at_least(1, predict_batch_size=self.predict_batch_size)
        at_least(2, train_batch_size=self.train_batch_size)
        at_least(0, k=self.k, num_workers=self.num_workers, seed=self.seed)
        positive(temperature=self.temperature)
        if str(self.monitor).startswith("test/"):
            raise UserError(
                f"monitor={self.monitor}: the test set chooses nothing; name a metric of val/, and "
                "set a validation split apart"
            )
        one_of(["auto", "none", *self._wanted(labeled=True)], monitor=self.monitor)

    def on(
        self, bundle: DatasetBundle, augment: BatchAugment, train: Images | None = None
    ) -> Evaluation:
        """The evaluations of a dataset.

        Args:
            bundle: The dataset.
            augment: Makes the views of the validation loss; its own object, not that of the
                training, and often a milder recipe.
            train: Labeled images on which k-NN and linear evaluation fit; by default those of the
                dataset.

        Raises:
            UserError: The monitor is not measured on this dataset, or the views of the validation
                loss are all alike.
        """
        train = bundle.train if train is None else train
        held_out: Images | None = bundle.test if bundle.val is None else bundle.val
        callbacks: list[L.Callback] = []
        if bundle.val is not None:
            callbacks.append(self._validation_loss(bundle.val, augment))
        labeled = _num_labels(train) > 0 and _num_labels(held_out) > 0
        if labeled and held_out is not None:
            callbacks += self._of_labels(bundle, train, held_out)
        if not callbacks:
            log.info("nothing is measured but the training itself")
        monitor = self._choose(self._wanted(labeled) if bundle.val is not None else [])
        labels_used = _labels_used(monitor, train, bundle.val)
        if labels_used is not None:
            log.info("that is %s; monitor=val/loss uses none", labels_used)
        return Evaluation(callbacks, monitor, labels_used)

    def _validation_loss(self, val: Images, augment: BatchAugment) -> ValidationLoss:
        return ValidationLoss(
            val,
            augment,
            batch_size=self.train_batch_size,
            interval=self.interval,
            num_workers=self.num_workers,
            seed=self.seed,
        )

    def _of_labels(
        self, bundle: DatasetBundle, train: Images, held_out: Images
    ) -> list[L.Callback]:
        features = CleanFeatures(
            train,
            held_out,
            split="test" if bundle.val is None else "val",
            mean=bundle.mean,
            std=bundle.std,
            batch_size=self.predict_batch_size,
            num_workers=self.num_workers,
        )
        callbacks: list[L.Callback] = []
        if self.k > 0:
            knn = {"k": self.k, "temperature": self.temperature, "interval": self.interval}
            callbacks.append(KNNEvaluation(features, bundle.num_classes, **knn))  # type: ignore[arg-type]
        else:
            log.info("k=0: no k-NN evaluation")
        if self.linear is not None:
            callbacks.append(
                LinearEvaluation(
                    features, bundle.num_classes, interval=self.linear_interval, **self.linear
                )
            )
        return callbacks

    def _wanted(self, labeled: bool) -> list[str]:
        """What can be measured on a validation split, with labels or without."""
        left_out = set() if labeled else {key for key, words in MONITORS.items() if words}
        left_out |= {"val/knn_accuracy"} if self.k == 0 else set()
        left_out |= {"val/linear_accuracy"} if self.linear is None else set()
        return [metric for metric in MONITORS if metric not in left_out]

    def _choose(self, measured: list[str]) -> str | None:
        """The metric that chooses a checkpoint; the first of those measured unless one is named."""
        if self.monitor not in ("auto", "none", *measured):
            raise UserError(f"monitor={self.monitor}: {_objection(measured)}")
        if self.monitor == "none" or not measured:
            why = "monitor=none" if measured else "no validation split"
            log.info("%s: best.ckpt is the last epoch; the test set chooses nothing", why)
            return None
        chosen = measured[0] if self.monitor == "auto" else self.monitor
        log.info("best.ckpt is chosen by %s", chosen)
        return chosen


def _objection(measured: list[str]) -> str:
    choices = f"choose one of {', '.join(['auto', 'none', *measured])}"
    if measured:
        return f"not measured on data without labels; {choices}"
    return f"there is no validation split; set one apart (val_size=0.1), or {choices}"


def _labels_used(monitor: str | None, train: Images, val: Images | None) -> str | None:
    """The sentence for users of the encoder who count the labels that they buy.

    Nothing but the monitor chooses weights; other evaluations are only looked at.
    """
    words = MONITORS.get(monitor or "")
    if words is None:
        return None
    return (
        f"{words} on the labels of {_num_labels(train):,} training and {_num_labels(val):,} "
        "validation images"
    )


def _num_labels(images: Images | None) -> int:
    return 0 if images is None else int(np.count_nonzero(images.targets >= 0))
