"""Equal rows, found by hashes: without a copy of the rows where all are distinct."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

BLOCK = 2**18  # entries that are hashed at a time


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct ones among n rows, in order of first appearance.

    Attributes:
        first: Where each appears first, ascending. Shape: (u,).
        which: Of every row, the position in ``first``. Shape: (n,).
    """

    first: Tensor
    which: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Self:
        """Compares rows (n, d) of float32, where -0.0 equals 0.0."""
        hashes = _hashes(rows)
        _, group, count = hashes.unique(return_inverse=True, return_counts=True)
        leader = torch.arange(len(rows), device=rows.device)  # the first row that equals row i
        twins = (count[group] > 1).nonzero().squeeze(1)
        if len(twins):
            leader[twins] = twins[_first_equal(rows[twins]).to(rows.device)]
        is_first = leader == torch.arange(len(rows), device=rows.device)
        position = is_first.cumsum(0) - 1
        return cls(is_first.nonzero().squeeze(1), position[leader])

    def add(self, weights: Tensor) -> Tensor:
        """Total weight (u,) of each distinct row, given those of all rows (n,)."""
        return torch.bincount(self.which, weights=weights, minlength=len(self.first))


def _hashes(rows: Tensor) -> Tensor:
    """Equal rows have equal hashes, and few others have. Shape: (n,), int64."""
    width = rows.shape[1]
    odd = np.random.default_rng(0).integers(2**31, size=width, dtype=np.int32) | 1
    factors = torch.from_numpy(odd).to(rows.device)
    hashes, size = torch.empty(len(rows), dtype=torch.int64, device=rows.device), BLOCK // width + 1
    # Small results between large temporary blocks would break the heap into pieces.
    for part, target in zip(rows.split(size), hashes.split(size), strict=True):
        torch.sum(_bits(part).mul_(factors), dim=1, out=target)  # products wrap
    return hashes


def _bits(rows: Tensor) -> Tensor:
    return (rows + 0.0).view(torch.int32)  # turns -0.0 into 0.0


def _first_equal(rows: Tensor) -> Tensor:
    """The position of the first row that equals row i. Shape: (n,)."""
    values = np.ascontiguousarray(_bits(rows).cpu().numpy())
    as_bytes = values.view(np.dtype((np.void, 4 * values.shape[1]))).squeeze(1)
    _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
    return torch.from_numpy(first[inverse.ravel()])
