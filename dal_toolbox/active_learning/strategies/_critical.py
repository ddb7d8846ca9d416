"""Float32 bounds of the ε at which a linear head changes its class, so that few need float64."""

import torch
from torch import Tensor

UNIT = 2.0**-24  # relative rounding error of float32
SLACK = 1e-5  # exceeds what the last steps round


class CriticalBounds:
    """Lower and upper bounds; rounding errors are added up step by step in the worst case.

    Args:
        weight: Shape: (d, C), float64.
        bias: Shape: (C,).
        anchors: Shape: (a, d).
    """

    def __init__(self, weight: Tensor, bias: Tensor, anchors: Tensor) -> None:
        self.weight, self.bias = weight.float(), bias.float()
        self.longest = float(weight.norm(dim=0).max())
        self.largest_bias = float(bias.abs().max())
        self.anchors = anchors.float()
        self.anchor_norms = anchors.norm(dim=1)

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Of inputs (n, d) in float64; 0 and inf where float32 knows nothing. Shapes: (n,)."""
        d, num_classes = self.weight.shape
        norms = z.norm(dim=1, keepdim=True)
        z = z.float()
        logits = torch.addmm(self.bias, z, self.weight)
        wrong = (2 * UNIT * (d + 8)) * (norms * self.longest + self.largest_bias)  # of a gap
        top, predicted = logits.max(dim=1, keepdim=True)
        gap = (top - logits).scatter_(1, predicted, torch.inf)
        errors = logits.scatter_(1, predicted, -torch.inf).softmax(dim=1)
        gradient = errors.scatter_(1, predicted, -1.0) @ self.weight.T
        length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        slopes = (gradient / length) @ self.weight
        rise = slopes.sub_(slopes.gather(1, predicted))
        # Of the gradient by wrong probabilities and by sums; twice that, and more sums, of a slope.
        off = (wrong.expm1() + 3 * UNIT * (num_classes + 16)) * self.longest
        off = 2 * self.longest * (2 * off / length.double() + 2 * UNIT * (d + 8))
        nearest, farthest = self._farthest(z, norms.squeeze(1))
        low = _first(gap - wrong.float(), rise + off.float()) / farthest * (1 - SLACK)
        high = _first(gap + wrong.float(), rise.sub_(off.float())) / nearest * (1 + SLACK)
        known = (gap.amin(dim=1) > wrong.squeeze(1)) & (low <= high)  # False for NaN
        return low.where(known, 0.0), high.where(known, torch.inf)

    def _farthest(self, z: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the distance to the farthest anchor. Shapes: (n,)."""
        products = torch.addmm(self.anchor_norms.square().float(), z, self.anchors.T, alpha=-2)
        squared = products.amax(dim=1).double() + norms.square()
        error = 4 * UNIT * (z.shape[1] + 8) * (norms + self.anchor_norms.max()).square()
        return (squared - error).clamp(min=0).sqrt(), (squared + error).sqrt()


def _first(gap: Tensor, rise: Tensor) -> Tensor:
    """The length after which the first class has made good its gap; inf: none does. Shape: (n,)."""
    length = gap.div_(rise).masked_fill_(rise <= 0, torch.inf)
    return length.amin(dim=1).clamp(min=0).double()
