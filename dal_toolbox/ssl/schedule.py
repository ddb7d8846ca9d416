"""Schedules: linear warmup, then half a cosine."""

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR


def warmup_cosine(step: int, total: int, warmup: int = 0, min_ratio: float = 0.0) -> float:
    """Factor of the learning rate in optimizer step ``step``, which counts from 0.

    Rises to 1 in the last step of the warmup, then falls along half a cosine (Loshchilov and Hutter,
    2017, https://arxiv.org/abs/1608.03983) towards ``min_ratio``, reached after the last step.

    Args:
        step: Number of steps done before this one.
        total: Number of steps of the whole training.
        warmup: Number of steps of the warmup.
        min_ratio: Smallest factor after the warmup, in [0, 1].

    >>> [round(warmup_cosine(step, total=6, warmup=2), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return min_ratio + (1 - min_ratio) * (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine_schedule(
    optimizer: Optimizer, total: int, warmup: int = 0, min_ratio: float = 0.0
) -> SequentialLR:
    """Scheduler of :func:`warmup_cosine`, to be advanced after every optimizer step.

    One ``SequentialLR`` of the warmup and the cosine. Both compute their factors from the step
    alone, so that rounding errors do not add up over a long training.
    """
    rise = partial(warmup_cosine, total=total, warmup=warmup)
    fall = partial(warmup_cosine, total=total - warmup, min_ratio=min_ratio)
    parts: list[LRScheduler] = [LambdaLR(optimizer, factor) for factor in (rise, fall)]
    return SequentialLR(optimizer, parts, milestones=[warmup])


def target_momentum(step: int, total: int, start: float) -> float:
    """Momentum of a moving average in optimizer step ``step``, which counts from 0.

    Rises from ``start`` to 1 along half a cosine (Grill et al., 2020, Section 3.3,
    https://arxiv.org/abs/2006.07733).

    >>> [round(target_momentum(step, total=4, start=0.9), 3) for step in range(5)]
    [0.9, 0.915, 0.95, 0.985, 1.0]
    """
    return 1 - (1 - start) * warmup_cosine(step, total)
