"""Queries and keys made ready for a float32 search with proven bounds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from dal_toolbox.errors import UserError

Metric = Literal["euclidean", "cosine"]
GROUP = 16  # blocks are multiples of this; the selection of the search looks at groups of columns
CPU_TILE_BYTES = 2**24  # a tile of bounds that stays in the last-level cache
SAMPLE = 64  # rows that decide the center
UNDERFLOW = 1e-30  # more than float32 products lose where numbers are too small for it
LARGEST_NORM = 1e18  # its square is still a float32


class NotFinite(UserError, ValueError):
    """Features that hold NaN, infinity or numbers beyond float32."""


@dataclass
class Side:
    """The rows of one side of a search.

    With ``center`` subtracted and ε = (d + 16) u, where u is half the machine epsilon,

        (1 - ε) (‖a‖² + ‖b‖²) - 2 a·b  ≤  ‖a - b‖²

    holds whatever the order of summation, for ε covers every rounding of the left side (Higham,
    2002, Accuracy and Stability of Numerical Algorithms, section 3.1). The center, the median of
    some keys, changes no distance but makes the norms small and so the bound tight.

    Cosine is the euclidean distance of unit vectors, 1 - cos = ‖a - b‖² / 2; a row of zeros has no
    direction, and its cosine with anything counts as 0.
    """

    rows: Tensor  # (n, d), any float type, possibly memory-mapped
    norm: Tensor  # (n,) float64; inf for a row of zeros under cosine
    center: Tensor  # (d,) float64
    metric: Metric
    chunk_bytes: int
    size: int  # rows of a block
    _blocks: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rows: Tensor, metric: Metric, chunk_bytes: int, keys: "Side | None" = None
    ) -> "Side":
        """Reads the rows once for norms and center; queries share those of their ``keys``.

        Raises:
            NotFinite: A row holds NaN, infinity, or is too large.
        """
        size = block_size(rows, chunk_bytes) if keys is None else keys.size
        blocks = rows.split(size) if len(rows) else ()
        norms = [torch.linalg.vector_norm(block.double(), dim=1) for block in blocks]
        norm = torch.cat([rows.new_empty(0, dtype=torch.float64), *norms])
        _check_finite(norm)
        if metric == "cosine":
            norm[norm == 0] = float("inf")
        side = cls(rows, norm, rows.new_zeros(1, dtype=torch.float64), metric, chunk_bytes, size)
        side.center = side._median() if keys is None else keys.center
        return side

    def __len__(self) -> int:
        """Number of blocks."""
        return -(-len(self.rows) // self.size)

    def span(self, i: int) -> slice:
        """The rows of block i."""
        return slice(i * self.size, min((i + 1) * self.size, len(self.rows)))

    def exact(self, indices: Tensor | slice) -> Tensor:
        """Rows in float64, of length 1 for cosine. Shape: (…, d)."""
        rows = self.rows[indices].double()
        return rows / self.norm[indices][..., None] if self.metric == "cosine" else rows

    def zeros(self, indices: Tensor | slice) -> Tensor:
        """Whether rows have no direction. Shape: (…)."""
        return self.norm[indices].isinf()

    def prepare(
        self, indices: Tensor | slice, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Centered rows (b, d), and their share (1 - ε) ‖a‖² of the bound (b,)."""
        rows = self.exact(indices) - self.center
        squares = rows.square().sum(dim=1) + self.zeros(indices)
        return rows.to(dtype), ((1 - self.epsilon(dtype)) * squares).to(dtype)

    def block(self, i: int) -> tuple[Tensor, Tensor]:
        """Block i, prepared; kept where all blocks fit into ``chunk_bytes``."""
        if i in self._blocks:
            return self._blocks[i]
        block = self.prepare(self.span(i))
        if 4 * self.rows.numel() <= self.chunk_bytes:
            self._blocks[i] = block
        return block

    def epsilon(self, dtype: torch.dtype = torch.float32) -> float:
        return (self.rows.shape[1] + 16) * torch.finfo(dtype).eps / 2

    def _median(self) -> Tensor:
        # Not the mean: one item far off would move it away from all others.
        n = len(self.rows)
        some = torch.arange(0, n, max(1, n // SAMPLE), device=self.rows.device)
        return self.exact(some).median(dim=0).values if n else self.center


def two_sides(queries: Tensor, keys: Tensor, metric: Metric, chunk_bytes: int) -> tuple[Side, Side]:
    """Both sides; one and the same object if they are the same rows."""
    right = Side.of(keys, metric, chunk_bytes)
    same = (
        queries.data_ptr() == keys.data_ptr()
        and queries.shape == keys.shape
        and queries.stride() == keys.stride()
        and queries.dtype == keys.dtype
    )
    return (right if same else Side.of(queries, metric, chunk_bytes, right)), right


def lower_bounds(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
    """Bounds of the squared distances between prepared rows. Shape: (q, k)."""
    (a, aa), (b, bb) = left, right
    return torch.addmm(bb, a, b.T, alpha=-2).add_(aa[:, None])


def measure(left: Side, right: Side, query: Tensor, key: Tensor) -> Tensor:
    """Squared distances from float64 differences: queries (p,) to their keys (p, w). Shape: (p, w)."""
    row_bytes = 32 * key.shape[1] * right.rows.shape[1]
    size = max(1, tile_bytes(query.device, left.chunk_bytes) // row_bytes)
    squared = torch.empty(key.shape, dtype=torch.float64, device=key.device)
    for chunk, i, j in zip(squared.split(size), query.split(size), key.split(size), strict=True):
        difference = right.exact(j).sub_(left.exact(i)[:, None])  # (b, w, d)
        torch.sum(difference.square_(), dim=2, out=chunk)
        if left.metric == "cosine":
            chunk.masked_fill_(left.zeros(i)[:, None] | right.zeros(j), 2.0)
    return squared


def tile_bytes(device: torch.device, chunk_bytes: int) -> int:
    """Bytes of one tile of the work."""
    share = chunk_bytes // 4
    return min(share, CPU_TILE_BYTES) if device.type == "cpu" else share


def block_size(rows: Tensor, chunk_bytes: int) -> int:
    """Rows of a block, so that a tile of two blocks, and a block in float64, fit."""
    tile = tile_bytes(rows.device, chunk_bytes)
    size = min(int((tile / 4) ** 0.5), chunk_bytes // (64 * max(1, rows.shape[1])))
    return max(GROUP, size // GROUP * GROUP)


@contextmanager
def plain_float32() -> Iterator[None]:
    """Products in true float32, as the bounds assume: no TF32, no bfloat16, no autocast."""
    before = _get_precision()
    _set_precision(("ieee", "ieee") if isinstance(before, tuple) else "highest")
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            for device in ("cpu", "cuda"):
                stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        _set_precision(before)


def _get_precision() -> str | tuple[str, str]:
    backends: Any = torch.backends
    if hasattr(backends.mkldnn, "matmul"):  # the older switch may not be read once this is used
        return backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision
    return torch.get_float32_matmul_precision()


def _set_precision(precision: str | tuple[str, str]) -> None:
    if isinstance(precision, str):
        torch.set_float32_matmul_precision(precision)
        return
    backends: Any = torch.backends
    backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision = precision


def _check_finite(norm: Tensor) -> None:
    bad = (~(norm < LARGEST_NORM)).nonzero()
    if len(bad):
        row = int(bad[0])
        raise NotFinite(
            f"features hold NaN, infinity or numbers too large: row {row} has norm "
            f"{float(norm[row]):g}, allowed is less than {LARGEST_NORM:g}"
        )
