"""Which items change their predicted class when noise is added to a linear head."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 2**19  # logits of a block, or differences of logits: they stay in the cache
NEAREST = 128  # classes of an item that are looked at one by one, …
SHARE = 4  # … of this many times as many: an inner product alone is slower than one in a block
UNIT = 2.0**-24  # relative rounding error of float32


@dataclass(frozen=True, eq=False)
class Items:
    """Unit-norm features x, the logits of the head, and the classes that come near the predicted one.

    Attributes:
        x: Float32. Shape: (n, d).
        logits: Float32. Shape: (n, C).
        classes: The predicted class, then those of the next largest logits. Shape: (n, t).
        gaps: By which their logits are below that of the predicted class, descending from 0: at
            most 0. Shape: (n, t).
    """

    x: Tensor
    logits: Tensor
    classes: Tensor
    gaps: Tensor

    @classmethod
    def of(cls, x: Tensor, logits: Tensor) -> "Items":
        num_classes = logits.shape[1]
        size = min(num_classes, 2 + min(NEAREST, num_classes // SHARE))
        classes = torch.empty(len(x), size, dtype=torch.int32, device=x.device)
        gaps = logits.new_empty(len(x), size)
        for start in range(0, len(x), 8192):
            part = slice(start, start + 8192)
            predicted = logits[part].argmax(dim=1, keepdim=True)  # the first, if others are equal
            order = logits[part].scatter(1, predicted, torch.inf).topk(size, dim=1).indices
            classes[part] = order
            gaps[part] = logits[part].gather(1, order) - logits[part].gather(1, predicted)
        return cls(x, logits, classes, gaps)

    def near(self, reach: float) -> Tensor:
        """Whether a class comes within reach of the predicted one. Shape: (n,)."""
        if self.gaps.shape[1] == 1:
            return torch.zeros(len(self.gaps), dtype=torch.bool, device=self.gaps.device)
        return self.gaps[:, 1] >= -reach

    def flips(self, noise: Tensor, rows: Tensor, reach: float) -> Tensor:
        """Whether noise changes the prediction. Shape: (m, k).

        Float32 decides where the logits differ by more than its error can be, float64 elsewhere.

        Args:
            noise: k changes of the weights and, last, the bias of each class. Shape: (C, k, d + 1).
            rows: Of the items. Shape: (m,).
            reach: No two changes of logits differ by more.
        """
        flips = torch.zeros(len(rows), noise.shape[1], dtype=torch.bool, device=rows.device)
        longest = float(torch.linalg.vector_norm(noise, dim=2).max())
        error = 2 * 1.5 * UNIT * (noise.shape[2] + 8) * longest  # ‖[x; 1]‖ = √2
        inside = (self.gaps[rows] >= -reach).sum(dim=1)
        many = inside == self.gaps.shape[1]
        for at in _groups((~many).nonzero().squeeze(1), inside, BLOCK):
            flips[at] = self._by_pair(noise, rows[at], reach, error)
        size = max(256, BLOCK // (noise.shape[0] * noise.shape[1]))
        for at in many.nonzero().squeeze(1).split(size):
            flips[at] = self._in_block(noise, rows[at], error)
        return flips

    def _by_pair(self, noise: Tensor, rows: Tensor, reach: float, error: float) -> Tensor:
        """Each item meets the classes within reach, class by class."""
        gaps, classes = self.gaps[rows], self.classes[rows]
        item, rank = (gaps >= -reach).nonzero(as_tuple=True)
        of_class, order = classes[item, rank].sort()
        item, rank = item[order], rank[order]
        changes = self.x.new_empty(len(item), noise.shape[1])
        at = rows[item]
        found, counts = of_class.unique_consecutive(return_counts=True)
        start = 0
        for c, count in zip(found.tolist(), counts.tolist(), strict=True):
            part = slice(start, start + count)
            x = self.x.index_select(0, at[part])  # copies whole rows: faster than x[at]
            torch.addmm(noise[c, :, -1], x, noise[c, :, :-1].T, out=changes[part])
            start += count
        own = rank == 0
        predicted = torch.empty(len(rows), noise.shape[1], device=rows.device)
        predicted[item[own]] = changes[own]
        other = (~own).nonzero().squeeze(1)
        item, of_class = item[other], of_class[other].long()
        lead = changes.index_select(0, other).sub_(predicted.index_select(0, item))
        lead += gaps[item, rank[other], None]
        bound = self._error(rows, error)[item, None]
        pair, draw = (lead > -bound).nonzero(as_tuple=True)
        sure = lead[pair, draw] > bound[pair, 0]
        flips = torch.zeros(len(rows), noise.shape[1], dtype=torch.bool, device=rows.device)
        flips[item[pair[sure]], draw[sure]] = True
        pair, draw = pair[~sure], draw[~sure]
        self._decide(flips, noise, rows, item[pair], of_class[pair], draw)
        return flips

    def _in_block(self, noise: Tensor, rows: Tensor, error: float) -> Tensor:
        """Each item meets all classes."""
        num_classes, k, _ = noise.shape
        own = self.classes[rows, 0].long().expand(1, k, -1)
        weight = noise.flatten(0, 1)
        lead = torch.addmm(weight[:, -1:], weight[:, :-1], self.x.index_select(0, rows).T)
        lead = lead.view(num_classes, k, len(rows)).add_(self.logits[rows].T[:, None])
        predicted = lead.gather(0, own)
        best = lead.scatter_(0, own, -torch.inf).amax(dim=0) - predicted[0]  # (k, m)
        bound = self._error(rows, error)
        flips = (best > bound).T.contiguous()
        for some in (best.abs() <= bound).nonzero().split(BLOCK // num_classes + 1):
            draw, item = some.T
            leads = lead[:, draw, item] - predicted[0, draw, item]  # (C, some)
            of_class, which = (leads.abs() <= bound[item]).nonzero(as_tuple=True)
            self._decide(flips, noise, rows, item[which], of_class, draw[which])
        return flips

    def _error(self, rows: Tensor, error: float) -> Tensor:
        """What a difference of logits can be wrong by, given that of their changes. Shape: (m,)."""
        top = self.logits[rows, self.classes[rows, 0]].abs()
        return error + 8 * UNIT * (top + error / UNIT / 256)

    def _decide(
        self,
        flips: Tensor,
        noise: Tensor,
        rows: Tensor,
        item: Tensor,
        of_class: Tensor,
        draw: Tensor,
    ) -> None:
        """Sets flips where a class leads in float64; item, class and draw have the same shape."""
        for i, c, j in zip(*(t.split(4096) for t in (item, of_class, draw)), strict=True):
            own = self.classes[rows[i], 0].long()
            change = noise[c, j].double() - noise[own, j].double()
            lead = (change[:, :-1] * self.x[rows[i]].double()).sum(dim=1) + change[:, -1]
            lead += self.logits[rows[i], c].double() - self.logits[rows[i], own].double()
            leads = lead > 0
            flips[i[leads], j[leads]] = True


def _groups(at: Tensor, sizes: Tensor, most: int) -> Iterator[Tensor]:
    """Parts of ``at`` whose sizes add up to little more than ``most``."""
    if len(at) == 0:
        return
    group = sizes[at].cumsum(0).sub_(1).div_(most, rounding_mode="floor")
    yield from at.split(torch.unique_consecutive(group, return_counts=True)[1].tolist())
