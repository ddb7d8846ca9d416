"""Lightning's Trainer, as pretraining needs it."""

import logging
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch

from dal_toolbox.ssl.checkpoint import CheckpointFiles

PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def build_trainer(
    device: torch.device, precision: str, callbacks: Sequence[L.Callback], **options: Any
) -> L.Trainer:
    """A trainer on one device that prints nothing and keeps no files of its own.

    Args:
        device: Where to train.
        precision: ``32``, ``bf16`` or ``16``.
        callbacks: All callbacks; one of them is a ``Checkpoint``.
        options: Further arguments of ``lightning.Trainer``.
    """
    on_gpu = device.type == "cuda"
    return L.Trainer(
        accelerator="gpu" if on_gpu else device.type,
        devices=[device.index or 0] if on_gpu else 1,
        precision=PRECISION[precision],
        callbacks=list(callbacks),
        benchmark=on_gpu and not options.get("deterministic"),  # all batches have one shape
        plugins=[CheckpointFiles()],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the notices of Lightning that tell a user nothing."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)  # advertisements
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            # The first steps of float16 may be skipped while its scale is found.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            # SequentialLR of older versions of torch steps in a way that torch itself deprecates.
            warnings.filterwarnings("ignore", "The epoch parameter in `scheduler.step")
            # A frozen part of an encoder is in evaluation mode on purpose.
            warnings.filterwarnings("ignore", ".*in eval mode at the start of training")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def preserved_generators(device: torch.device) -> Iterator[None]:
    """Gives the global generators back as they were."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
