"""Where the time of a training goes."""

import time
from typing import Any, cast

import lightning as L
import torch
from torch import nn


class ThroughputMeter(L.Callback):
    """Images per second, and the shares of the time spent waiting for data and in augmentation.

    Logs ``images_per_second``, ``data_wait``, ``augmentation`` and ``seconds`` of every epoch, its
    evaluations not included. Waiting for data is what passes between two batches: loading, transfer to
    the device and the trainer's own work.
    """

    _waited = 0.0  # seconds
    _images = 0
    _started = _idle_since = 0.0  # on the clock of time.perf_counter

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clocks."""
        self._clock = ModuleClock(cast(nn.Module, pl_module.augment))
        self._reset()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts an epoch."""
        self._reset()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A batch has arrived."""
        self._waited += time.perf_counter() - self._idle_since

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """The next batch is asked for."""
        self._images += len(batch[0])
        if trainer.is_last_batch and pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)  # once an epoch: the queue is part of its time
        self._idle_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the epoch."""
        seconds = self._idle_since - self._started
        pl_module.log_dict(
            {
                "seconds": seconds,
                "images_per_second": self._images / seconds,
                "data_wait": self._waited / seconds,
                "augmentation": self._clock.read() / seconds,
            }
        )

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes the clock off the augmentation."""
        if hasattr(self, "_clock"):
            self._clock.remove()

    def _reset(self) -> None:
        self._started = self._idle_since = time.perf_counter()
        self._waited, self._images = 0.0, 0


class ModuleClock:
    """Adds up the time of a module's forward passes, on a GPU by events and without waiting for it."""

    def __init__(self, module: nn.Module) -> None:
        self._seconds = 0.0
        self._started: Any = None
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._hooks = [
            module.register_forward_pre_hook(self._start),
            module.register_forward_hook(self._stop),
        ]

    def read(self) -> float:
        """Seconds since the last reading."""
        seconds = self._seconds + sum(a.elapsed_time(b) for a, b in self._events) / 1000
        self._seconds = 0.0
        self._events.clear()
        return seconds

    def remove(self) -> None:
        """Takes the clock off the module."""
        for hook in self._hooks:
            hook.remove()

    def _start(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._started = _event() if inputs[0].is_cuda else time.perf_counter()

    def _stop(self, module: nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
        if inputs[0].is_cuda:
            self._events.append((self._started, _event()))
        else:
            self._seconds += time.perf_counter() - self._started


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
