"""Checkpoints: the last epoch, and the best by a validation metric."""

import math
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

FACTS = "dal_toolbox"  # key of the run's facts in a checkpoint


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after every epoch and ``best.ckpt`` whenever the monitored metric improves.

    A file is complete or absent: it is written under another name and renamed. Without a metric,
    ``best.ckpt`` is the last epoch.

    Args:
        folder: Where the files go.
        facts: What must be equal for a run to be continued; plain values.
        monitor: Name of the metric. Losses are minimized, everything else is maximized.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], monitor: str | None) -> None:
        self.folder = folder
        self.facts = facts
        self.monitor = monitor
        self.best_score: float | None = None
        self.best_epoch: int | None = None

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "best.ckpt"

    def prepare(self) -> int:
        """Makes the folder; the number of epochs done by the run that is continued, or 0.

        Raises:
            UserError: The folder holds a checkpoint of a run with other facts.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.last.is_file():
            return 0
        checkpoint = torch.load(self.last, map_location="cpu", weights_only=True)
        before, now = checkpoint.get(FACTS, {}), self.facts
        changes = [
            f"{key}={now.get(key)!r} (was {before.get(key)!r})"
            for key in {**before, **now}
            if before.get(key) != now.get(key)
        ]
        if changes:
            raise UserError(
                f"{self.last} belongs to another run: {', '.join(changes)}; "
                "choose another folder, or delete this checkpoint"
            )
        done = int(checkpoint["epoch"]) + 1
        log.info("continues after epoch %d of %s", done, self.last)
        return done

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves; Lightning calls this after all other callbacks."""
        improved = self._improved(trainer)
        temporary = self.folder / ".last.ckpt.tmp"
        trainer.save_checkpoint(temporary)
        if improved:
            copy = self.folder / ".best.ckpt.tmp"
            shutil.copyfile(temporary, copy)
            copy.replace(self.best)
        temporary.replace(self.last)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the facts of the run."""
        checkpoint[FACTS] = self.facts

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Says how the run goes on."""
        if self.last.is_file():
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


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Loads the weights of a checkpoint into a method.

    Raises:
        UserError: There is no such file.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint {path}; it is written at the end of an epoch")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
