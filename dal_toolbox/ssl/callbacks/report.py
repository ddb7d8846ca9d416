"""What a person sees of a training: metrics.csv, one log line an epoch, a progress bar."""

import csv
import io
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch

from dal_toolbox.io import remove_leftovers, write_text
from dal_toolbox.progress import log, progress_bar
from dal_toolbox.ssl.callbacks.knn import KNNEvaluation

TITLE = "pretraining, epochs"  # of the progress bar, which counts them


class Report(L.Callback):
    """Writes ``metrics.csv`` with a row for every epoch, logs it, and shows progress.

    All rows are part of the checkpoint: after a resume the file is what an undisturbed run writes.
    Metrics that are not evaluated in an epoch are empty in its row.

    Args:
        path: The CSV file.
        progress: Shows a progress bar, where standard error is a terminal.
    """

    def __init__(self, path: Path, *, progress: bool = True) -> None:
        self.path = path
        self.progress = progress
        self.rows: list[dict[str, float]] = []
        self._seen: dict[str, torch.Tensor] = {}
        self._lr = 0.0
        self._stack = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the row of the untrained encoder, or those of the checkpoint; opens the bar."""
        remove_leftovers(self.path)
        self.rows = self.rows or _untrained(trainer, pl_module)
        write_csv(self.path, self.rows)
        if self.progress:
            self._bar = self._stack.enter_context(progress_bar())
            total, done = trainer.max_epochs or 1, trainer.current_epoch
            self._task = self._bar.add_task(TITLE, total=total, completed=done, note="")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes the metrics of earlier epochs, which Lightning keeps."""
        self._seen = dict(trainer.callback_metrics)

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Notes the learning rate of this step."""
        self._lr = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Moves the progress bar by a part of an epoch."""
        if self.progress:
            done = trainer.current_epoch + (batch_idx + 1) / int(trainer.num_training_batches)
            self._bar.update(self._task, completed=done)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Adds the row of the epoch."""
        metrics = trainer.callback_metrics
        # Lightning keeps old values: those of this epoch are new objects.
        fresh = {key: x for key, x in metrics.items() if x is not self._seen.get(key)}
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "lr": self._lr}
        self.rows.append(row | {key: float(x) for key, x in sorted(fresh.items())})
        write_csv(self.path, self.rows)
        summary = summarize(self.rows[-1])
        log.info("epoch %d/%s  %s", row["epoch"], trainer.max_epochs, summary)
        if self.progress:
            self._bar.update(self._task, completed=row["epoch"], note=summary)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Closes the progress bar."""
        self._stack.close()

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the rows."""
        self.rows = list(state_dict["rows"])


def _untrained(trainer: L.Trainer, method: L.LightningModule) -> list[dict[str, float]]:
    """The row of epoch 0: what the encoder is worth before any training, by k-NN."""
    row: dict[str, float] = {"epoch": 0, "step": 0}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, KNNEvaluation):
            row |= callback.scores(trainer, method)
    if len(row) == 2:
        return []
    log.info("untrained  %s", summarize(row))
    return [row]


def summarize(row: dict[str, float]) -> str:
    """Formats the columns of a row that fit into one line.

    >>> summarize({"train/loss": 5.125, "lr": 0.06, "val/knn_accuracy": 0.5, "images_per_second": 250})
    'loss 5.1250  knn_accuracy 50.0 %  250 images/s'
    """
    parts = [f"loss {row['train/loss']:.4f}"] if "train/loss" in row else []
    for key, value in row.items():
        split, _, name = key.partition("/")
        if split in ("val", "test"):
            shown = f"{100 * value:.1f} %" if name.endswith("accuracy") else f"{value:.4f}"
            parts.append(f"{name if name != 'loss' else key} {shown}")
    if "images_per_second" in row:
        parts.append(f"{row['images_per_second']:,.0f} images/s")
    return "  ".join(parts)


def write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    """Writes rows, whose keys may differ, under a header of all keys; the file is never incomplete."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
