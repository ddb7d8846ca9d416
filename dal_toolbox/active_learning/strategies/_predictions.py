"""Predictions of the candidates block by block, where those of all items are too much memory.

Logits come as tensors; whatever else a context gives (draws from the posterior, …) comes from a
context restricted to a block. Blocks have a fixed number of rows, whatever ``chunk_bytes``: the same
block gives the same bits.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import ROWS, NoClassifier, QueryContext, rows_at
from dal_toolbox.classifiers import Classifier
from dal_toolbox.neighbors import NotFinite
from dal_toolbox.seeding import draw_seed, generator

WHOLE = 2**31  # bytes of an (n, C) array up to which it is kept in float32, beyond in float16


def fitted(context: QueryContext) -> Classifier:
    """The classifier.

    Raises:
        NoClassifier: Cold start: there is no label to learn from.
    """
    if context.classifier is None:
        raise NoClassifier("no item is labeled yet: there is no classifier to ask")
    return context.classifier


def logit_blocks(context: QueryContext) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Dataset indices (b,) and logits (b, C) of the unlabeled items, in their order.

    The blocks are those of ``context.logits``, and so are the numbers.

    Raises:
        NoClassifier: Cold start.
    """
    fitted(context)
    for first in range(0, len(context.unlabeled), ROWS):
        yield context.unlabeled[first : first + ROWS], logits_from(context, first)


def logits_from(context: QueryContext, first: int) -> Tensor:
    """The block of logits that begins at position ``first``, a multiple of ROWS. Shape: (b, C).

    Raises:
        NoClassifier: Cold start.
        NotFinite: A logit is NaN or infinite.
    """
    logits: Tensor | None = context.__dict__.get("logits")  # somebody has paid for it
    indices = context.unlabeled[first : first + ROWS]
    if logits is not None:
        block = logits[first : first + ROWS]
    else:
        block = fitted(context).logits(rows_at(context.features, indices))
    if not torch.isfinite(block.sum()):  # or the sum overflows
        finite = torch.isfinite(block).all(dim=1).cpu().numpy()
        if not finite.all():
            raise NotFinite(f"the logits of item {indices[~finite][0]} hold NaN or infinity")
    return block


def reduce_logits(context: QueryContext, function: Callable[[Tensor], Tensor]) -> np.ndarray:
    """What ``function`` makes of each row of the logits, (b, C) -> (b,). Shape: (n_unlabeled,).

    Raises:
        NoClassifier: Cold start.
    """
    parts = [function(logits).cpu().numpy() for _, logits in logit_blocks(context)]
    return np.concatenate([np.empty(0), *parts])


def blocks(
    context: QueryContext, rows: int = ROWS, *, seed: int | None = None
) -> Iterator[tuple[slice, QueryContext]]:
    """Positions in ``context.unlabeled``, and the context restricted to them.

    Every block sees the same draws from the posterior; ``seed`` chooses them.

    Raises:
        NoClassifier: Cold start; nothing was drawn from the rng then.
    """
    fitted(context)
    seed = draw_seed(context.rng) if seed is None else seed
    unlabeled = context.unlabeled
    for start in range(0, len(unlabeled), rows):
        part = slice(start, min(start + rows, len(unlabeled)))
        yield part, block_of(context, unlabeled[part], seed)


def block_of(context: QueryContext, candidates: np.ndarray, seed: int) -> QueryContext:
    """The context restricted to ascending candidates, with the draws that the seed chooses."""
    return replace(context, candidates=candidates, rng=generator(seed, "posterior"))


def posterior_rows(num_classes: int) -> int:
    """Rows of a block of ``samples``: M draws of C classes must fit as well."""
    return max(16, min(max(1024, 2**17 // num_classes), 2**20 // num_classes, ROWS))


def kept_dtype(n: int, num_classes: int) -> torch.dtype:
    """Of an (n, C) array of numbers in [-1, 1] that is kept over a query."""
    return torch.float32 if 4 * n * num_classes <= WHOLE else torch.float16
