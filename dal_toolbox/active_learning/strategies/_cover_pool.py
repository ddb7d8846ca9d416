"""Which items are covered and which may be chosen, in pools too large for all pairs."""

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._cover_blocks import NUMBER, near_clusters
from dal_toolbox.active_learning.strategies._cover_kernel import SEARCH_BYTES, CoverKernel, Kernel
from dal_toolbox.active_learning.strategies._pool import candidate_subset, subset, unit_rows


def cover_problem(
    context: QueryContext, targets: np.ndarray, candidates: np.ndarray, kernel: Kernel
) -> tuple[CoverKernel, Tensor]:
    """The kernel between items of the pool on unit-norm features, and what labeled ones cover (T,)."""
    items = np.unique(np.concatenate([context.labeled, targets, candidates]))
    number = search_bytes(context) // (20 * max(1, len(candidates)))  # 5 bytes for each pair
    clusters = near_clusters(lambda some: unit_rows(context, some), items, number).cpu()
    order = (~torch.from_numpy(np.isin(items, targets)) * NUMBER + clusters).argsort(stable=True)
    features = unit_rows(context, items[order.numpy()])
    place = np.empty(len(items), np.int64)
    place[order.numpy()] = np.arange(len(items))
    labeled, covered, covering = (
        torch.from_numpy(place[np.searchsorted(items, some)]).to(features.device)
        for some in (context.labeled, targets, candidates)
    )
    engine = CoverKernel(
        features,
        covered,
        covering,
        kernel,
        search_bytes(context),
        clusters[order].to(features.device),
    )
    return engine, engine.covered(labeled)


def search_bytes(context: QueryContext) -> int:
    """``chunk_bytes``, or 4 MiB if that is more."""
    return max(context.chunk_bytes, SEARCH_BYTES)


def cover_subsets(
    context: QueryContext,
    targets: np.ndarray,
    limits: tuple[int | None, int | None],
    n: int,
    strategy: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and candidates, at random at most as many as the limits, with a log line for each."""
    note = f"{strategy}: coverage is measured on"
    targets = subset(context, targets, limits[0], note, "max_targets")
    candidates = candidate_subset(context, limits[1], n, strategy, option="max_candidates")
    return targets, candidates
