"""Which items are covered and which may be chosen, in pools too large for all pairs."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cover_kernel import CoverKernel, Kernel
from dal_toolbox.progress import log

SEARCH_BYTES = 2**22  # with less, the search for neighbors is a hundred times as slow


def cover_kernel(
    context: QueryContext, targets: np.ndarray, candidates: np.ndarray, kernel: Kernel
) -> CoverKernel:
    """The kernel between items of the pool, on unit-norm features."""
    features = context.normalized
    return CoverKernel(
        features,
        indices_on(features, targets),
        indices_on(features, candidates),
        kernel,
        search_bytes(context),
    )


def search_bytes(context: QueryContext) -> int:
    """``chunk_bytes``, or 4 MiB if that is more."""
    return max(context.chunk_bytes, SEARCH_BYTES)


def indices_on(features: Tensor, indices: np.ndarray) -> Tensor:
    """Indices on the device of the features."""
    return torch.from_numpy(indices).to(features.device)


def sample_targets(
    context: QueryContext, items: np.ndarray, limit: int | None, strategy: str
) -> np.ndarray:
    """The items, or so many of them at random, which then is logged."""
    what = f"{strategy}: coverage is measured on"
    return _sample(context, items, limit, what, "max_targets")


def sample_candidates(
    context: QueryContext, limit: int | None, n: int, strategy: str
) -> np.ndarray:
    """All candidates, or so many of them (at least n) at random, which then is logged."""
    limit = None if limit is None else max(limit, n)
    what = f"{strategy}: items are chosen from"
    return _sample(context, context.unlabeled, limit, what, "max_candidates")


def sample_items(context: QueryContext, limit: int | None, n: int, strategy: str) -> np.ndarray:
    """All candidates, or so many at random to cover and to choose from, which then is logged."""
    limit = None if limit is None else max(limit, n)
    return _sample(
        context,
        context.unlabeled,
        limit,
        f"{strategy}: items are covered and chosen from",
        "max_items",
    )


def check_limit(name: str, limit: int | None) -> None:
    """Raises ValueError where a limit is not positive."""
    if limit is not None and limit < 1:
        raise ValueError(f"{name}={limit}; wanted 1 or more, or none for all items")


def _sample(
    context: QueryContext, items: np.ndarray, limit: int | None, what: str, option: str
) -> np.ndarray:
    if limit is None or len(items) <= limit:
        return items
    log.info("%s %s of %s items (%s)", what, f"{limit:,}", f"{len(items):,}", option)
    return np.sort(context.rng.choice(items, limit, replace=False))
