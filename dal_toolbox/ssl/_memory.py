"""What to do when an accelerator runs out of memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from dal_toolbox.errors import UserError


class OutOfMemory(UserError, MemoryError):
    """The accelerator is too small for what was asked of it."""


@contextmanager
def explained(advice: Callable[[], str]) -> Iterator[None]:
    """Turns running out of accelerator memory into one line of advice.

    Raises:
        OutOfMemory: With the error of torch as its cause.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"the accelerator is out of memory: {advice()}") from error


def training_advice(
    batch_size: int,
    accumulate_batches: int,
    precision: str,
    image_size: int,
    *,
    images_on_device: bool,
) -> str:
    """The knobs that make a training smaller, with their values.

    >>> print(training_advice(32, 1, "32", 224, images_on_device=False))
    lower model.train_batch_size from 32 to 16 (model.accumulate_batches=2 then keeps the number of \
optimizer steps, but adds no negatives), set trainer.precision=bf16 (now 32), or lower \
dataset.image_size (now 224)
    """
    knobs = []
    if batch_size >= 4:
        half = batch_size // 2
        knobs.append(
            f"lower model.train_batch_size from {batch_size} to {half} (model.accumulate_batches="
            f"{2 * accumulate_batches} then keeps the number of optimizer steps, but adds no negatives)"
        )
    if precision == "32":
        knobs.append("set trainer.precision=bf16 (now 32)")
    if images_on_device:
        knobs.append("set residency=memory (now device)")
    return ", ".join([*knobs, f"or lower dataset.image_size (now {image_size})"])
