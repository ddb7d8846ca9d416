"""Checkpoints: the last epoch, the one before it, and the best by a validation metric."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from dal_toolbox.errors import UserError
from dal_toolbox.io import atomic_file, remove_leftovers
from dal_toolbox.progress import log
from dal_toolbox.ssl.checkpoint import (
    FACTS,
    DamagedCheckpoint,
    check_weights,
    copy,
    epoch_of,
    read_checkpoint,
)


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after every epoch and ``best.ckpt`` whenever the monitored metric improves.

    A file is complete or absent: it is written under another name and renamed. ``previous.ckpt`` is
    the epoch before the last, for the case that ``last.ckpt`` is damaged. Without a metric,
    ``best.ckpt`` is the last epoch.

    Args:
        folder: Where the files go.
        monitor: Name of the metric. Losses are minimized, everything else is maximized.

    Attributes:
        facts: What must be equal for a run to be continued; plain values.
        resumed: The checkpoint from which the run continues; None at its start.
    """

    def __init__(self, folder: Path, monitor: str | None) -> None:
        self.folder = folder
        self.monitor = monitor
        self.facts: dict[str, Any] = {}
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.resumed: Path | None = None
        self._found: dict[str, Any] | None = None

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.folder / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint of the epoch before the last."""
        return self.folder / "previous.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "best.ckpt"

    def find(self) -> dict[str, Any]:
        """Makes the folder; the facts of the run that it holds, none for a new one.

        Raises:
            UserError: The folder holds damaged checkpoints alone.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in (self.last, self.previous, self.best):
            remove_leftovers(file)
        self._found = self._newest()
        return {} if self._found is None else self._found[FACTS]

    def prepare(self, method: torch.nn.Module, facts: dict[str, Any]) -> int:
        """The number of epochs done by the run that is continued, or 0; after :meth:`find`.

        Args:
            method: Whose weights are continued.
            facts: Those of this run.

        Raises:
            UserError: The folder holds checkpoints of a run with other facts or weights.
        """
        self.facts = facts
        checkpoint, self._found = self._found, None
        if checkpoint is None:
            return 0
        self._refuse_other_run(checkpoint)
        check_weights(method, checkpoint["state_dict"], str(self.resumed))
        done = int(checkpoint["epoch"]) + 1
        log.info("continues after epoch %d of %s", done, self.resumed)
        return done

    def _newest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; None where there is none at all."""
        damaged = []
        for file in (self.last, self.previous):
            if not file.is_file():
                continue
            try:
                checkpoint = read_checkpoint(file)
            except DamagedCheckpoint as error:
                damaged.append(error)
                log.warning("%s; tries the epoch before", error)
                continue
            self.resumed = file
            return checkpoint
        if damaged:
            raise UserError(
                f"{damaged[0]}, and there is no whole one of the epoch before; delete "
                f"{self.folder} to train from the start"
            )
        return None

    def _refuse_other_run(self, checkpoint: dict[str, Any]) -> None:
        before, now = checkpoint[FACTS], self.facts
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if not keys:
            return
        if keys == ["epochs"]:
            raise UserError(
                f"epochs={now['epochs']}: {self.resumed} was trained for a schedule of "
                f"{before['epochs']} epochs, whose cosine cannot be made longer or shorter; choose "
                "another folder, and start from the weights of this run if you like"
            )
        changes = [
            f"{key.rpartition('.')[2]}={now.get(key)!r} (was {before.get(key)!r})" for key in keys
        ]
        raise UserError(
            f"{self.resumed} belongs to another run: {', '.join(changes)}; choose another folder, "
            "or delete this checkpoint"
        )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves; Lightning calls this after all other callbacks."""
        improved = self._improved(trainer)
        with atomic_file(self.last) as temporary:
            trainer.save_checkpoint(temporary)
            if improved:
                copy(temporary, self.best)
            if self.last.is_file():
                self.last.replace(self.previous)

    def ensure_best(self) -> str | None:
        """Puts another epoch in the place of a best one that is missing or damaged.

        Returns:
            What was lost, in one sentence; None where nothing was.
        """
        if epoch_of(self.best) == self.best_epoch is not None:
            return None
        for file in (self.last, self.previous):
            if epoch_of(file) == self.best_epoch is not None:
                copy(file, self.best)
                return None
        epoch = epoch_of(self.last)
        if epoch is None:
            raise UserError(
                f"{self.best} and {self.last} are missing or damaged; delete {self.folder} to train "
                "from the start"
            )
        lost = f"{self.best} of epoch {self.best_epoch} is missing or damaged"
        if self.best_epoch is None:
            lost = f"{self.monitor} was never a finite number"
        copy(self.last, self.best)
        self.best_epoch, self.best_score = epoch, None
        note = f"{lost}; the encoder is that of epoch {epoch}, the last"
        log.warning("%s", note)
        return note

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the facts of the run."""
        checkpoint[FACTS] = self.facts

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Says how the run goes on, where that needs no change of the command."""
        if self.last.is_file() and not isinstance(exception, UserError):
            log.warning("stopped; the same command continues from %s", self.last)

    def state_dict(self) -> dict[str, Any]:
        """Best score and epoch so far."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores best score and epoch."""
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]

    def _improved(self, trainer: L.Trainer) -> bool:
        epoch = trainer.current_epoch + 1
        if self.monitor is None:
            self.best_epoch = epoch
            return True
        if self.monitor not in trainer.callback_metrics:
            return False  # not evaluated yet
        score = float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(score):
            return False  # nothing compares with it: it would be the best for ever
        sign = -1 if self.monitor.endswith("loss") else 1
        if self.best_score is not None and sign * score <= sign * self.best_score:
            return False
        self.best_score, self.best_epoch = score, epoch
        log.info("epoch %d: best %s so far, %.4f", epoch, self.monitor, score)
        return True
