"""Greedy k-center: bounds from few centers for the pool, float64 for what decides a pick."""

import torch
from torch import Tensor

from dal_toolbox.active_learning.strategies._kcenter_points import Points
from dal_toolbox.active_learning.strategies._pool import check_finite
from dal_toolbox.neighbors._sides import plain_float32

ACTIVE = 256  # items among which picks are made between two looks at the pool
LEADING = 1 / 8  # share of the items among which the largest are sought, as long as they are there
SAMPLE = 2**14  # items that tell how large the values of the leading ones are
STAGE = 256  # centers that an item meets before it is asked again whether it still matters


def kcenter_greedy(
    features: Tensor, centers: Tensor, candidates: Tensor, n: int, *, chunk_bytes: int
) -> Tensor:
    """Picks, n times, the candidate farthest from all centers, which then is a center too.

    Naive greedy measures every distance from a candidate to a center. Here a candidate meets the
    centers in stages, and its distance from those it has met is an upper bound: once that is
    less than the distances of the picks, the other centers are spared. Bounds are float32
    products made larger by their error, what decides a pick is float64. Same picks.

    Args:
        features: The whole pool. Shape: (N, d).
        centers: Indices of the centers there are. Without any, the first pick is the candidate
            nearest to the mean of the candidates.
        candidates: Ascending indices to pick from.
        n: Number of picks, at most the number of candidates.
        chunk_bytes: Bound of the working memory.

    Returns:
        Indices in order of choice; ties go to the lowest index. Shape: (n,).

    Raises:
        NotFinite: Features of candidates are not finite, or their squares are not.
    """
    if n == 0:
        return candidates[:0]
    with plain_float32():
        points = Points(features, candidates, chunk_bytes)
        first = points.nearest_to_mean() if len(centers) == 0 else candidates[:0]  # a position
        end = len(centers) + n
        bounds = Bounds(points, torch.cat([centers, candidates[first]]))
        bounds.values[first] = -1  # never again
        while len(bounds.centers) < end:
            bounds.pick(end - len(bounds.centers))
    return bounds.centers[end - n :]


class Bounds:
    """Upper bounds of the squared distances of m candidates from the nearest center.

    Args:
        points: The candidates.
        centers: Indices of at least one center; picks are appended.
    """

    def __init__(self, points: Points, centers: Tensor) -> None:
        everything = torch.arange(len(points.candidates), device=centers.device)
        self.points = points
        self.centers = centers
        self.values = torch.full_like(everything, torch.inf, dtype=torch.float32)
        self.met = torch.zeros_like(everything, dtype=torch.int32)  # so many of the first centers
        self.exact = torch.zeros_like(self.met)  # so many of them in float64
        self._leading, self._threshold = everything[:0], -torch.inf
        self._meet_stage(everything)

    def pick(self, n: int) -> None:
        """As many picks as the items with the largest distances can settle: 1 to n."""
        active, bound, first = self._farthest()
        rows = check_finite(self.points.features[self.points.candidates[active]].double())
        current = self.values[active]
        picks: list[int] = []
        while len(picks) < n:
            best = int(current.argmax())
            beyond = current[best] > bound or (current[best] == bound and active[best] < first)
            if not beyond:
                break
            picks.append(best)
            new = (rows - rows[best]).square_().sum(dim=1).float()
            current = torch.minimum(current, new)
            current[best] = -1  # never again
        self.centers = torch.cat([self.centers, self.points.candidates[active[picks]]])
        self.values[active] = current
        self.met[active] = self.exact[active] = len(self.centers)

    def _farthest(self) -> tuple[Tensor, float, int]:
        """What ``largest`` gives, when these items have met all centers in float64."""
        size = self.points.block_size(ACTIVE)
        wide, widest = 16 * size, max(16 * size, len(self.values) // 16)
        while True:
            leading = self._lead(size)
            stale = self._stale(leading, size, wide)
            if len(stale):
                self._meet_stage(stale)
                wide = min(2 * wide, widest)
                continue
            active, bound, first = largest(self.values[leading], size)
            active, first = leading[active], int(leading[first]) if first >= 0 else -1
            unsure = active[self.exact[active] < len(self.centers)]
            if not len(unsure):
                return active, bound, first
            self._meet_exactly(unsure)

    def _stale(self, leading: Tensor, size: int, most: int) -> Tensor:
        """Of those that have not met all centers, the largest that may be among the ``size`` largest."""
        values = self.values[leading]
        fresh = self.met[leading] == len(self.centers)
        known = values[fresh]
        floor = known.topk(size).values[-1] if len(known) >= size else -1
        stale = (~fresh & (values > floor)).nonzero().squeeze(1)  # equals are seen to in float64
        if len(stale) > most:
            stale = stale[values[stale].topk(most, sorted=False).indices].sort().values
        return leading[stale]

    def _lead(self, k: int) -> Tensor:
        """Ascending positions that hold the k largest values, and all that equal the least of them.

        Values only fall: what was below a threshold stays there.
        """
        if int((self.values[self._leading] >= self._threshold).sum()) <= k:
            sample = self.values[:: max(1, len(self.values) // SAMPLE)]
            share = min(1.0, max(LEADING, 4 * k / len(self.values)))
            self._threshold = float(sample.sort().values[int((1 - share) * len(sample))])
            self._leading = (~(self.values < self._threshold)).nonzero().squeeze(1)
            if len(self._leading) <= k:
                self._threshold = -torch.inf
                self._leading = torch.arange(len(self.values), device=self.values.device)
        return self._leading

    def _meet_stage(self, positions: Tensor) -> None:
        stages = self.met[positions] // STAGE
        for stage in stages.unique().tolist():
            group = positions[stages == stage]
            start, stop = int(self.met[group].min()), (stage + 1) * STAGE
            self.points.shorten(self.values, group, self.centers[start:stop], torch.float32)
            self.met[group] = min(stop, len(self.centers))

    def _meet_exactly(self, positions: Tensor) -> None:
        met = self.exact[positions]
        for start in met.unique().tolist():
            group = positions[met == start]
            self.points.shorten(self.values, group, self.centers[start:], torch.float64)
        self.met[positions] = self.exact[positions] = len(self.centers)


def largest(values: Tensor, size: int) -> tuple[Tensor, float, int]:
    """The ``size`` positions with the largest values, ascending; the lowest among equals.

    Also the largest value left out, and the first position left out that has it if it is among
    the values taken too (-1 otherwise).
    """
    if len(values) <= size:
        return torch.arange(len(values), device=values.device), -1.0, -1
    top, positions = values.topk(size + 1)
    limit, bound = top[-2], top[-1]
    if bound < limit:
        return positions[:-1].sort().values, float(bound), -1
    above = (values > limit).nonzero().squeeze(1)
    equal = (values == limit).nonzero().squeeze(1)
    room = size - len(above)
    return torch.cat([above, equal[:room]]).sort().values, float(bound), int(equal[room])
