"""What to do when memory runs out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from dal_toolbox.errors import UserError


class OutOfMemory(UserError, MemoryError):
    """The accelerator, or the machine, is too small for what was asked of it."""


@contextmanager
def explained(argument: Callable[[], str], advice: Callable[[], str]) -> Iterator[None]:
    """Turns running out of memory into one line of advice.

    Args:
        argument: The argument that decides the need, ``batch_size=32``: the line begins with it.
        advice: What to change.

    Raises:
        OutOfMemory: With the error of torch as its cause.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        line = f"{argument()}: the accelerator is out of memory: {advice()}"
        raise OutOfMemory(line) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch has no class for it
            raise
        raise OutOfMemory(f"{argument()}: the machine is out of memory: {advice()}") from error


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
    lower it to 16 (accumulate_batches=2 then keeps the number of optimizer steps, but adds no \
negatives), set precision=bf16 (now 32), or take smaller images (now 224 px)
    """
    knobs = []
    if batch_size >= 4:
        half = batch_size // 2
        knobs.append(
            f"lower it to {half} (accumulate_batches={2 * accumulate_batches} then keeps the number "
            "of optimizer steps, but adds no negatives)"
        )
    if precision == "32":
        knobs.append("set precision=bf16 (now 32)")
    if images_on_device:
        knobs.append("set residency=memory (now device)")
    return ", ".join([*knobs, f"or take smaller images (now {image_size} px)"])
