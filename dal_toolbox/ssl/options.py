"""The options of a pretraining, checked before any image is opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from dal_toolbox.arguments import at_least, one_of
from dal_toolbox.datasets.residency import RESIDENCIES
from dal_toolbox.encoders.precision import precision_reason, resolve_device, resolve_precision
from dal_toolbox.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of :func:`dal_toolbox.ssl.pretrain.pretrain` that can be checked without images.

    Raises:
        ValueError: One that cannot be.
        UserError: ``monitor`` is a metric of the test set.
    """

    epochs: int = 100
    batch_size: int = 256
    accumulate_batches: int = 1
    precision: str = "auto"
    device: str = "auto"
    residency: str = "auto"
    num_workers: int = 0
    seed: int = 42
    monitor: str | None = None

    def __post_init__(self) -> None:
        at_least(1, epochs=self.epochs, accumulate_batches=self.accumulate_batches)
        at_least(2, batch_size=self.batch_size)
        at_least(0, num_workers=self.num_workers, seed=self.seed)
        one_of(RESIDENCIES, residency=self.residency)
        self._check_precision(resolve_precision(self.precision, self.place, training=True))
        if self.monitor is not None and not isinstance(self.monitor, str):
            raise ValueError(f"monitor={self.monitor!r}: must be the name of a metric")
        if (self.monitor or "").startswith("test/"):
            raise UserError(
                f"monitor={self.monitor}: the test set chooses nothing; name a metric of val/"
            )

    @property
    def place(self) -> torch.device:
        """The device."""
        return resolve_device(self.device)

    def arithmetic(self, earlier: Mapping[str, Any]) -> tuple[str, str]:
        """The precision and its reason; ``auto`` keeps that of an earlier part of the run.

        Args:
            earlier: Facts of that part; none for a new run.
        """
        if self.precision == "auto" and "precision" in earlier:
            self._check_precision(earlier["precision"])
            return earlier["precision"], "as the run began"
        options: dict[str, Any] = {"device": self.place, "training": True}
        precision = resolve_precision(self.precision, **options)
        return precision, precision_reason(self.precision, **options)

    def _check_precision(self, precision: str) -> None:
        if precision == "16" and self.place.type != "cuda":
            raise ValueError(
                f"precision={precision!r}: float16 trains on GPUs only; use bf16 or 32"
            )
