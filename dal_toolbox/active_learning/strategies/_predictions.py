"""Predictions of the candidates in blocks: no array of all items × all classes × all draws.

Blocks have a fixed number of rows, whatever ``chunk_bytes``: the same block gives the same bits.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from dal_toolbox.active_learning.context import ROWS, NoClassifier, QueryContext
from dal_toolbox.seeding import draw_seed, generator

WHOLE = 2**31  # bytes of an (n, C) array up to which it is kept in float32, beyond in float16


def blocks(
    context: QueryContext, rows: int = ROWS, *, seed: int | None = None
) -> Iterator[tuple[slice, QueryContext]]:
    """Positions in ``context.unlabeled``, and the context restricted to them.

    Every block sees the same draws from the posterior; ``seed`` chooses them.

    Raises:
        NoClassifier: Cold start; nothing was drawn from the rng then.
    """
    if context.classifier is None:
        raise NoClassifier("no item is labeled yet: there is no classifier to ask")
    seed = draw_seed(context.rng) if seed is None else seed
    unlabeled = context.unlabeled
    for start in range(0, len(unlabeled), rows):
        part = slice(start, min(start + rows, len(unlabeled)))
        yield part, block_of(context, unlabeled[part], seed)


def block_of(context: QueryContext, candidates: np.ndarray, seed: int) -> QueryContext:
    """The context restricted to ascending candidates, with the draws that the seed chooses."""
    return replace(context, candidates=candidates, rng=generator(seed, "posterior"))


def kept_dtype(n: int, num_classes: int) -> torch.dtype:
    """Of an (n, C) array of numbers in [-1, 1] that is kept over a query."""
    return torch.float32 if 4 * n * num_classes <= WHOLE else torch.float16


def posterior_rows(num_classes: int) -> int:
    """Rows of a block of ``samples``: M draws of C classes must fit as well."""
    return max(16, min(1024, 2**20 // num_classes))
