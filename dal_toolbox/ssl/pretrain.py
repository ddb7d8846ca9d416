"""Pretrains a method and leaves checkpoints and metrics in a folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import Logger

from dal_toolbox.augment import BatchAugment
from dal_toolbox.datasets import ImageLoader, Images
from dal_toolbox.datasets.residency import ResidentImages, resident_loader
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log
from dal_toolbox.ssl._memory import explained, training_advice
from dal_toolbox.ssl._trainer import build_trainer, preserved_generators, quiet
from dal_toolbox.ssl.base import SSLMethod
from dal_toolbox.ssl.batches import EpochBatches, training_loader
from dal_toolbox.ssl.callbacks import (
    CollapseMonitor,
    ContrastiveAccuracy,
    FiniteLoss,
    ThroughputMeter,
)
from dal_toolbox.ssl.callbacks.checkpoints import Checkpoints
from dal_toolbox.ssl.callbacks.report import Report
from dal_toolbox.ssl.checkpoint import load_weights
from dal_toolbox.ssl.optimization import Optimization
from dal_toolbox.ssl.options import TrainingOptions


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining leaves behind.

    Attributes:
        method: The method with the weights of the last epoch.
        last: Checkpoint of the last epoch.
        best: Checkpoint of the best epoch by ``monitor``; of the last one where nothing is monitored.
        monitor: The metric that chose ``best``.
        best_epoch: The epoch of ``best``, which counts from 1.
        best_score: The metric in that epoch.
        rows: The rows of ``metrics.csv``.
        resumed_from: Number of epochs that were done before this call.
        lost: What became of a best epoch that could not be kept, in a sentence.
    """

    method: SSLMethod
    last: Path
    best: Path
    monitor: str | None
    best_epoch: int | None
    best_score: float | None
    rows: list[dict[str, float]]
    resumed_from: int
    lost: str | None = None

    def load_best(self) -> SSLMethod:
        """The method with the weights of the best epoch."""
        load_weights(self.method, self.best)
        return self.method


def pretrain(
    method: SSLMethod,
    train: Images,
    *,
    folder: Path,
    augment: BatchAugment,
    epochs: int = 100,
    batch_size: int = 256,
    optimization: Optimization | None = None,
    accumulate_batches: int = 1,
    precision: str = "auto",
    device: str = "auto",
    residency: str = "auto",
    num_workers: int = 0,
    seed: int = 42,
    callbacks: Sequence[L.Callback] = (),
    monitor: str | None = None,
    loggers: Sequence[Logger] = (),
    compile: bool = False,
    deterministic: bool = False,
    progress: bool = True,
) -> PretrainResult:
    """Trains ``method`` on ``train``; continues where an interrupted call in ``folder`` stopped.

    A run that was killed and continued has the losses of an undisturbed one (on a GPU up to the
    order of its sums, unless ``deterministic``). The labels of ``train`` are not used.

    Args:
        method: The method; its encoder is trained in place.
        train: The images.
        folder: Gets ``metrics.csv`` and ``checkpoints/{last,previous,best}.ckpt``.
        augment: uint8 images (b, c, h, w) -> views (v · b, c, h, w).
        epochs: Passes over the images.
        batch_size: Images of a batch. The incomplete last batch of an epoch is left out.
        optimization: Optimizer and schedule.
        accumulate_batches: Batches whose gradients are averaged for one optimizer step.
        precision: ``32``, ``bf16``, ``16``, or ``auto``: by device, and as an interrupted run began.
        device: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``.
        residency: Where decoded images lie: ``device``, ``memory``, ``disk``, or ``auto`` by size,
            see :func:`dal_toolbox.datasets.residency.resident`. The losses do not depend on it.
        num_workers: Processes that decode image files; arrays need none.
        seed: Of order, views and dropout. The weights are those of ``method``.
        callbacks: Evaluations, see :mod:`dal_toolbox.ssl.evaluation`.
        monitor: The metric that chooses ``best.ckpt``; never one of the test set.
        loggers: Further loggers of Lightning.
        compile: Compiles the training step.
        deterministic: Uses deterministic algorithms only.
        progress: Shows a progress bar, where standard error is a terminal.

    Raises:
        ValueError: An option that cannot be.
        UserError: A checkpoint of another run in ``folder``, or files that cannot be written.
        OutOfMemory: The accelerator is too small; the message names the knobs.
        NonFiniteLoss: The training diverged.
    """
    options = TrainingOptions(
        epochs=epochs, batch_size=batch_size, accumulate_batches=accumulate_batches,
        precision=precision, device=device, residency=residency, num_workers=num_workers,
        seed=seed, monitor=monitor,
    )  # fmt: skip
    loader = training_loader(train, batch_size, num_workers=num_workers, seed=seed)
    method.configure(augment, optimization or Optimization(), loader.batch_size, compile=compile)
    report = Report(folder / "metrics.csv", progress=progress)
    checkpoints = Checkpoints(folder / "checkpoints", monitor)
    place = options.place
    with _continuable(checkpoints):
        arithmetic, reason = options.arithmetic(checkpoints.find())
        facts = {
            **_facts(method),
            "epochs": epochs,
            "accumulate_batches": accumulate_batches,
            "precision": arithmetic,
            "seed": seed,
            "images": train.fingerprint,
        }
        done = checkpoints.prepare(method, facts)
        _log_plan(method, loader, accumulate_batches, f"{place}, precision {arithmetic} ({reason})")
        if done < epochs:
            loader = resident_loader(loader, residency, place)
        measures = [ThroughputMeter(), ContrastiveAccuracy(), CollapseMonitor(), FiniteLoss()]
        with quiet(), preserved_generators(place):
            trainer = build_trainer(
                place,
                arithmetic,
                [*measures, *callbacks, report, checkpoints],
                max_epochs=epochs,
                accumulate_grad_batches=min(accumulate_batches, len(loader)),
                deterministic=deterministic,
                logger=list(loggers) or False,
                log_every_n_steps=min(50, len(loader)),
            )
            batches = EpochBatches(loader, augment, seed, epoch=lambda: trainer.current_epoch)
            with explained(
                lambda: f"batch_size={loader.batch_size}",
                lambda: _smaller(method, loader, accumulate_batches, arithmetic),
            ):
                trainer.fit(method, batches, ckpt_path=checkpoints.resumed, weights_only=True)
        lost = checkpoints.ensure_best()
    return PretrainResult(
        method=method,
        last=checkpoints.last,
        best=checkpoints.best,
        monitor=monitor,
        best_epoch=checkpoints.best_epoch,
        best_score=checkpoints.best_score,
        rows=report.rows,
        resumed_from=done,
        lost=lost,
    )


@contextmanager
def _continuable(checkpoints: Checkpoints) -> Iterator[None]:
    """Says what the operating system refused, and how the run goes on."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError):
            raise
        file = error.filename or checkpoints.folder
        raise UserError(
            f"{file}: {error.strerror or error}; once that is mended, the same command goes on "
            "after the last epoch that was saved"
        ) from error


def _facts(method: SSLMethod) -> dict[str, Any]:
    """What decides the course of a training, as plain values."""
    return {
        "method": type(method).__name__,
        "encoder": getattr(method.encoder, "recipe", type(method.encoder).__name__),
        **{f"model.{key}": value for key, value in method.hparams.items()},
        **{f"optimizer.{key}": value for key, value in asdict(method.optimization).items()},
        "train_batch_size": method.batch_size,
        "augmentation": str(getattr(method.augment, "views", method.augment)),
    }


def _smaller(
    method: SSLMethod, loader: ImageLoader, accumulate_batches: int, precision: str
) -> str:
    images = loader.images
    taken = isinstance(images, ResidentImages) and images.on_device and method.device.type != "cpu"
    image_size = getattr(method.augment, "size", images.shape[-1])
    return training_advice(
        loader.batch_size,
        accumulate_batches,
        precision,
        image_size,
        images_on_device=taken,
    )


def _log_plan(
    method: SSLMethod, loader: ImageLoader, accumulate_batches: int, hardware: str
) -> None:
    log.info(
        "pretraining on %d images, %d batches of %d an epoch, on %s",
        len(loader.images),
        len(loader),
        loader.batch_size,
        hardware,
    )
    log.info("%s", method.optimization.describe(loader.batch_size))
    if accumulate_batches > 1 and method.has_negatives:
        log.info(
            "accumulate_batches=%d averages gradients; it adds no negatives: every image is still "
            "contrasted with the %d others of its batch",
            accumulate_batches,
            loader.batch_size - 1,
        )
    elif accumulate_batches > 1:
        log.info(
            "accumulate_batches=%d averages gradients; batch normalization still sees %d images",
            accumulate_batches,
            loader.batch_size,
        )
