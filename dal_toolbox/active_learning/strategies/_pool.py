"""Parts of the pool: rows as tensors, unit rows of some items, random subsets that are logged."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.arguments import at_least, between, positive
from dal_toolbox.neighbors import NotFinite, unit_norm
from dal_toolbox.progress import log

MAX_COUNT = 10**6  # of steps: more never end
BLOCK = 2**11  # rows that are normalized at a time


def rows_of(context: QueryContext, indices: np.ndarray) -> Tensor:
    """Indices as a tensor where the features are."""
    return torch.from_numpy(indices).to(context.features.device)


def unit_rows(context: QueryContext, indices: np.ndarray) -> Tensor:
    """Rows of ``context.normalized``, which is not computed for them, float32. Shape: (m, d).

    Not to be changed: they are the features themselves where these have unit norm and the indices
    no gap.
    """
    known = context.normalize is not None or "normalized" in context.__dict__
    source = context.normalized if known else context.features
    if len(indices) and (np.diff(indices) == 1).all():
        rows = source[int(indices[0]) : int(indices[-1]) + 1]
        return rows if known else unit_norm(rows)
    rows = rows_of(context, indices)
    if known:
        return source[rows]
    unit = source.new_empty((len(rows), source.shape[1]), dtype=torch.float32)
    for some, target in zip(rows.split(BLOCK), unit.split(BLOCK), strict=True):
        target.copy_(unit_norm(source[some]))
    return unit


def check_finite(values: Tensor) -> Tensor:
    """The values.

    Raises:
        NotFinite: One is not finite.
    """
    if not torch.isfinite(values).all():
        raise NotFinite("the features of the pool hold NaN, infinity or numbers that are too large")
    return values


def check_limit(name: str, limit: int | None) -> None:
    """Raises ValueError for a limit that is no integer of at least 1, nor None."""
    if limit is not None:
        at_least(1, **{name: limit})


def check_count(**counts: int) -> None:
    """Raises ValueError for numbers of steps that are no integers from 1 to a million."""
    at_least(1, **counts)
    between(1, MAX_COUNT, **counts)


def share(**values: float) -> None:
    """Raises ValueError for values that are not above 0 and at most 1."""
    positive(**values)
    between(0, 1, **values)


def subset(
    context: QueryContext, items: np.ndarray, limit: int | None, note: str, option: str
) -> np.ndarray:
    """The items, or ``limit`` of them at random, ascending; this is logged."""
    if limit is None or len(items) <= limit:
        return items
    log.info("%s %s of %s items (%s)", note, f"{limit:,}", f"{len(items):,}", option)
    return np.sort(context.rng.choice(items, limit, replace=False))


def candidate_subset(
    context: QueryContext,
    limit: int | None,
    n: int,
    strategy: str,
    *,
    verb: str = "chosen from",
    option: str = "max_items",
) -> np.ndarray:
    """The candidates, or ``limit`` of them at random but n at least, ascending, with a log line."""
    limit = None if limit is None else max(limit, n)
    return subset(context, context.unlabeled, limit, f"{strategy}: items are {verb}", option)


def restricted(context: QueryContext, limit: int | None, n: int, strategy: str) -> QueryContext:
    """The context, or the same with the candidates of ``candidate_subset``."""
    candidates = candidate_subset(context, limit, n, strategy)
    return context if candidates is context.unlabeled else context.restrict(candidates)
