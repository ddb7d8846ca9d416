"""Rows that cannot be computed with, found at the speed of reading."""

import numpy as np
import torch
from torch import Tensor

BLOCK_BYTES = 2**26
LARGEST = torch.finfo(torch.float32).max ** 0.5
_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


def rows_not_finite(values: Tensor) -> np.ndarray:
    """Ascending indices of the rows of ``values`` (n, d) whose norm is not finite in float32, int64.

    They hold NaN, infinity, or numbers beyond 10¹⁹, whose squares no classifier could add.

    >>> rows_not_finite(torch.tensor([[0.0, 1.0], [2.0, float("inf")]])).tolist()
    [1]
    """
    step = max(1, BLOCK_BYTES // max(1, values[:1].nbytes))
    starts = range(0, len(values), step)
    found = [_in_block(values[i : i + step].detach()) + i for i in starts]
    return torch.cat(found).numpy() if found else np.zeros(0, np.int64)


def _in_block(block: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(block, dim=1, dtype=_WIDER.get(block.dtype))
    return (~(norms <= LARGEST)).nonzero().flatten()
