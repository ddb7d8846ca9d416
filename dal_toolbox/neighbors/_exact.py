"""Exact nearest neighbors: a float32 search that is proven, or else settled, in float64.

The rows with the smallest lower bounds are measured from float64 differences. Where the k-th of
these is below the bound of everything left out, the answer is proven. The other rows (ties and
near ties) are settled: bounds in float64 leave few pairs, and all of these are measured. So the
result is that of brute force in float64, however the work was cut, threaded or proposed.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dal_toolbox.neighbors._sides import GROUP, UNDERFLOW, Side, lower_bounds, measure
from dal_toolbox.progress import track

# (left, right, width, exclude_self) -> a lower bound of all keys left out (m,), candidates (m, width)
Proposal = Callable[[Side, Side, int, bool], tuple[Tensor, Tensor]]
LONG = 10**12  # multiply-adds that deserve a progress bar
SETTLE_COLUMNS = 256


def exact_neighbors(
    left: Side, right: Side, k: int, exclude_self: bool, propose: Proposal
) -> tuple[Tensor, Tensor]:
    """The k nearest keys of every query by (distance, index): float64 squares, indices (m, k)."""
    available = len(right.rows) - exclude_self
    width = min(k + 1 + k // 8, available)  # the spare ones make the gap that proves the answer
    bound, indices = propose(left, right, width, exclude_self)
    squared, indices = rerank(left, right, indices)
    squared, indices = squared[:, :k].contiguous(), indices[:, :k].contiguous()
    if width < available:
        doubtful = (squared[:, -1] >= bound - UNDERFLOW).nonzero().squeeze(1)
        settle(left, right, doubtful, squared, indices, exclude_self)
    return squared, indices


def propose_in_torch(
    left: Side, right: Side, width: int, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """The smallest lower bounds of each query, tile by tile."""
    m, device = len(left.rows), left.rows.device
    best = torch.full((m, width), float("inf"), device=device)  # ascending
    indices = torch.zeros((m, width), dtype=torch.int64, device=device)
    symmetric = left is right  # then a tile serves both its rows and its columns
    for j in _blocks(left, right):
        for i in range(j + 1 if symmetric else len(left)):
            tile = lower_bounds(left.block(i), right.block(j))
            if exclude_self and i == j:
                tile.fill_diagonal_(float("inf"))
            _merge(best[left.span(i)], indices[left.span(i)], tile, right.span(j).start)
            if symmetric and i < j:
                _merge(best[left.span(j)], indices[left.span(j)], tile.T, left.span(i).start)
    return best[:, -1], indices


def rerank(left: Side, right: Side, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Candidates (m, w) by (float64 squared distance, index)."""
    indices = indices.sort(dim=1).values
    rows = torch.arange(len(indices), device=indices.device)
    squared, order = measure(left, right, rows, indices).sort(dim=1, stable=True)
    return squared, indices.gather(1, order)


def settle(
    left: Side, right: Side, rows: Tensor, squared: Tensor, indices: Tensor, exclude_self: bool
) -> None:
    """Writes the proven answer of ``rows`` into ``squared`` and ``indices`` (m, k).

    Args:
        left: The queries.
        right: The keys.
        rows: The queries to answer. Shape: (r,).
        squared: Their last column bounds the answer from above (inf: nothing is known).
        indices: Result.
        exclude_self: Key i is not offered to query i.
    """
    for some in rows.split(left.size) if len(rows) else ():
        limit, k = squared[some, -1], squared.shape[1]
        squared[some], indices[some] = _settle(left, right, some, limit, k, exclude_self)


def _settle(
    left: Side, right: Side, rows: Tensor, limit: Tensor, k: int, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    a = left.prepare(rows, torch.float64)
    pairs, distances = rows.new_empty((2, 0)), limit.new_empty(0)
    for first in range(0, len(right.rows), SETTLE_COLUMNS):
        b = right.prepare(slice(first, first + SETTLE_COLUMNS), torch.float64)
        query, key = (lower_bounds(a, b) <= limit[:, None]).nonzero().unbind(1)
        key = key + first
        if exclude_self:
            other = key != rows[query]
            query, key = query[other], key[other]
        measured = measure(left, right, rows[query], key[:, None]).squeeze(1)
        pairs = torch.cat([pairs, torch.stack([query, key])], dim=1)
        distances = torch.cat([distances, measured])
        if len(distances) > 2 * k * len(rows):
            first_k = _first(pairs, distances, len(rows), k)
            pairs, distances = pairs[:, first_k], distances[first_k]
            full = torch.bincount(pairs[0][distances == 0], minlength=len(rows)) >= k
            limit = limit.masked_fill(full, -1.0)  # nothing comes before k earlier duplicates
    first_k = _first(pairs, distances, len(rows), k)
    return distances[first_k].view(-1, k), pairs[1][first_k].view(-1, k)


def _blocks(left: Side, right: Side) -> Iterator[int]:
    blocks = range(len(right))
    long = len(left.rows) * right.rows.numel() > LONG
    return track(blocks, "nearest neighbors") if long else iter(blocks)


def _merge(best: Tensor, indices: Tensor, tile: Tensor, first: int) -> None:
    """Merges the bounds ``tile`` (r, w) to the keys ``first``, ``first + 1``, … into (r, width)."""
    values, columns = _below(tile, best[:, -1:], best.shape[1])
    values = torch.cat([best, values], dim=1)
    columns = torch.cat([indices, columns + first], dim=1)
    values, order = values.topk(best.shape[1], dim=1, largest=False)
    best.copy_(values)
    indices.copy_(columns.gather(1, order))


def _below(tile: Tensor, limit: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The entries of a tile that can be among the ``width`` smallest below ``limit`` (r, 1).

    To sort every entry would cost as much as the product. Only minima of groups are compared with
    the limit, and the few groups that beat it are opened.
    """
    r, w = tile.shape
    if w % GROUP == 0:
        groups = w // GROUP  # group g holds the columns g, g + groups, …
        row, group = (_minima(tile, groups) < limit).nonzero().unbind(1)
        if len(row) < r * groups // 4:
            column = group[:, None] + groups * torch.arange(GROUP, device=tile.device)
            value = tile[row[:, None], column]  # (open groups, GROUP)
            entry, member = (value < limit[row]).nonzero().unbind(1)
            return _ragged(row[entry], value[entry, member], column[entry, member], r)
    return tile.topk(min(width, w), dim=1, largest=False, sorted=False)


def _minima(tile: Tensor, groups: int) -> Tensor:
    # Along the strided axis, a reduction is 20 times as fast as along the contiguous one.
    if tile.is_contiguous():
        return tile.unflatten(1, (GROUP, groups)).amin(dim=1)  # (r, groups)
    return tile.T.unflatten(0, (GROUP, groups)).amin(dim=0).T


def _ragged(row: Tensor, value: Tensor, column: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """Entries in order of their row as a matrix, filled up with inf. Shapes: (r, longest row)."""
    count = torch.bincount(row, minlength=r)
    slot = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    values = value.new_full((r, int(count.max())), float("inf"))
    columns = column.new_zeros(values.shape)
    values[row, slot], columns[row, slot] = value, column
    return values, columns


def _first(pairs: Tensor, distances: Tensor, r: int, k: int) -> Tensor:
    """Positions of the first k pairs (query, key) of each of r queries by (distance, key)."""
    order = pairs[1].argsort(stable=True)
    order = order[distances[order].argsort(stable=True)]
    order = order[pairs[0][order].argsort(stable=True)]
    count = torch.bincount(pairs[0], minlength=r)
    start = count.cumsum(0) - count
    rank = torch.arange(len(order), device=order.device) - start[pairs[0][order]]
    return order[rank < k]
