"""The nearest center of every item: float32 products, and an exact search where these are unsure."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dal_toolbox.neighbors._sides import UNDERFLOW, plain_float32
from dal_toolbox.neighbors.search import CHUNK_BYTES, knn

ENTRIES = 2**20  # of a block of items or scores: it stays in the cache


def nearest_center(
    items: Tensor, centers: Tensor, *, rows: Tensor | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Tensor:
    """The nearest center of each item, the lowest among equals. Shape: (m,).

    ‖x − c‖² is smallest where x·c′ − (‖c′‖²/2 + c′·o) is largest; c′ = c − o are the centers around
    their mean o. That is found in float32, with one product of all items and centers. Where the
    lead of the first is within the bound of all rounding errors (Higham, 2002, section 3.1),
    ``knn`` decides. So the result is that of brute force in float64. 2·m·k·d operations.

    Args:
        items: Any float type, possibly memory-mapped. Shape: (n, d).
        centers: Shape: (k, d).
        rows: The items to assign; all by default. Shape: (m,).
        chunk_bytes: Bound of the working memory of ``knn``.

    Raises:
        NotFinite: An item or a center holds NaN or infinity.
    """
    m, (k, d) = len(items) if rows is None else len(rows), centers.shape
    nearest = torch.zeros(m, dtype=torch.int64, device=items.device)
    if k == 1:
        return nearest
    origin = centers.double().mean(dim=0)
    shifted = centers.double() - origin
    offsets = shifted.square().sum(dim=1) / 2 + shifted @ origin
    reach, bias = float(shifted.norm(dim=1).max()), float(offsets.abs().max())
    fast, offsets, epsilon = shifted.float(), -offsets.float(), (d + 16) * 2.0**-24
    unsure = []
    with plain_float32():
        for part, block in blocks(items, max(k, d), rows):
            block = block.float()
            scores = torch.addmm(offsets, block, fast.T)
            first, lead = leaders(scores)
            error = epsilon * (reach * torch.linalg.vector_norm(block, dim=1) + bias) + UNDERFLOW
            sure = lead > 2 * error
            nearest[part] = first
            unsure.append((~sure).nonzero().squeeze(1) + part.start)  # NaN is unsure
    doubtful = torch.cat(unsure) if unsure else nearest
    for some in doubtful.split(ENTRIES // d + 1) if len(doubtful) else ():
        queries = items[some if rows is None else rows[some]]
        found = knn(queries, centers, 1, backend="exact", chunk_bytes=chunk_bytes)
        nearest[some] = found.indices.squeeze(1)
    return nearest


def leaders(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Where the largest score of each row is, and its lead over the others; overwrites scores (m, k)."""
    first = _argmax(scores)
    largest = scores.gather(1, first[:, None])
    scores.scatter_(1, first[:, None], float("-inf"))
    return first, largest.squeeze(1) - scores.amax(dim=1)


def blocks(items: Tensor, width: int, rows: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Positions and items (b, d), b · width ≤ ``ENTRIES``; of ``rows`` (m,) only."""
    m, size = len(items) if rows is None else len(rows), max(16, ENTRIES // width)
    for first in range(0, m, size):
        part = slice(first, min(first + size, m))
        yield part, items[part if rows is None else rows[part]]


def squared_distances(items: Tensor, centers: Tensor, nearest: Tensor) -> Tensor:
    """Of each item to its center, float64. Shapes: (n, d), (k, d), (n,) -> (n,)."""
    squared = torch.empty(len(items), dtype=torch.float64, device=items.device)
    for part, block in blocks(items, 4 * items.shape[1]):
        difference = centers[nearest[part]].double().sub_(block)  # a copy, whatever the type
        squared[part] = difference.square_().sum(dim=1)
    return squared


def _argmax(scores: Tensor) -> Tensor:
    # On the CPU, that of numpy is 5 to 30 times as fast as that of torch.
    if scores.device.type != "cpu":
        return scores.argmax(dim=1)
    return torch.from_numpy(scores.numpy().argmax(axis=1))
