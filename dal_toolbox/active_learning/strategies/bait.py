"""BAIT (Ash et al., 2021, https://arxiv.org/abs/2106.09675)."""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._fisher import ROWS
from dal_toolbox.active_learning.strategies._fisher_pool import forward_backward
from dal_toolbox.active_learning.strategies._pool import restricted
from dal_toolbox.active_learning.strategies._predictions import logit_blocks
from dal_toolbox.active_learning.strategies.base import (
    FEATURES,
    PREDICTIONS,
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.arguments import at_least, one_of, positive
from dal_toolbox.classifiers import Classifier
from dal_toolbox.errors import UserError

EXPECTATIONS = ("binary", "top_c")
FORMS = {"scale_free": 0.05, "paper": 1.0}  # with the ridge of each
PROBE = 64  # items that tell whether the classifier ignores the length of features
TOP_C_ITEMS = 50_000  # candidates of ``top_c`` by default
ROUNDED = 1e-15  # relative error of an entry of a Fisher matrix
MAX_WIDTH = 8192  # of a Fisher matrix: 0.5 GiB in float64, some of them are needed


@STRATEGIES.register("bait")
class Bait(QueryStrategy):
    """Minimizes the Fisher information that the labels leave open: tr((λ + F_L + F_S)⁻¹ F).

    F is the mean Fisher information of the last layer over labeled and unlabeled items, F_L that
    of labeled items times |L| / (|L| + n), and an item of the batch S adds its own times n / (|L| + n).
    Items are added greedily up to ``oversample`` · n, then removed greedily down to n, as in the
    paper. The information of an item is

    - ``binary``: p (1 − p) h hᵀ with the largest probability p, d × d (Huseljic et al., 2024,
      https://arxiv.org/abs/2404.08981); O(N d²) once and O(N d) for a pick, in one product for dozens
      of picks; memory is O(N), and no copy of the features;
    - ``top_c``: Σ p_y g_y g_yᵀ over the most likely classes y with g_y = (onehot(y) − p) ⊗ h,
      C · d wide; all classes give BAIT itself. O(N c C² d²) once and O(N c C d) for a pick.

    Deviation: in the paper h are the features as they are and λ is a number, so that picks depend on
    the scale of features even where the classifier ignores it. By default h are what the classifier
    sees: features of unit norm if their length does not change its logits, else the features; and
    λ = ``ridge`` · tr F. ``form="paper"`` is the published rule. Ties go to the lowest index. Random
    at cold start.

    Args:
        expectation: ``binary`` or ``top_c``.
        top_classes: Classes of the expectation ``top_c``; the paper of 2024 takes 2.
        form: ``scale_free`` or ``paper``.
        ridge: λ of the paper, or λ / tr F; none: 1 in the paper's form, else 0.05.
        oversample: Items that are added, over n; 1 leaves out the removal.
        max_items: Candidates to choose from, drawn at random and logged if there are more. None:
            all of them, or 50,000 for ``top_c``.
    """

    needs = FEATURES | PREDICTIONS

    def __init__(
        self,
        *,
        expectation: str = "binary",
        top_classes: int = 2,
        form: str = "scale_free",
        ridge: float | None = None,
        oversample: float = 2.0,
        max_items: int | None = None,
    ) -> None:
        one_of(EXPECTATIONS, expectation=expectation)
        at_least(1, top_classes=top_classes)
        one_of(FORMS, form=form)
        if ridge is not None:
            positive(ridge=ridge)
        positive(oversample=oversample)
        if oversample < 1:
            raise ValueError(f"oversample={oversample}: must be a number of at least 1")
        if max_items is not None:
            at_least(1, max_items=max_items)
        self.expectation = expectation
        self.top_classes = top_classes
        self.form = form
        self.ridge = ridge
        self.oversample = oversample
        self.max_items = max_items

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return random_query(context, n, instead_of=type(self).__name__)
        if n == 0:
            return np.empty(0, np.int64)
        context = self._subset(context, n)
        total = context.pool.num_labeled + n
        labeled, unlabeled = self._factors(context)
        trace = float(labeled.norms.sum() + unlabeled.norms.sum()) / (len(labeled) + len(unlabeled))
        unit = power_of_two(trace)  # of the square root of information: no matrix overflows
        labeled.scale(1 / unit)
        unlabeled.scale(1 / unit)
        known, open_ = labeled.fisher(), unlabeled.fisher()  # sums over items
        start = self._ridge(trace, unit, len(known)) * torch.eye(len(known)).to(known)
        start += known / total  # mean · |L| / (|L| + n)
        fisher = (known + open_) / (len(labeled) + len(unlabeled))
        unlabeled.scale((n / total) ** 0.5)
        picks = forward_backward(
            unlabeled,
            start,
            fisher,
            n,
            oversample=self.oversample,
            chunk_bytes=context.chunk_bytes,
        )
        return context.unlabeled[picks]

    def _ridge(self, trace: float, unit: float, width: int) -> float:
        """λ in the unit of the information.

        Raises:
            UserError: It is lost in rounding errors.
        """
        ridge = FORMS[self.form] if self.ridge is None else self.ridge
        absolute = ridge * (trace or 1.0) if self.form == "scale_free" else ridge
        if absolute < ROUNDED * width * trace:
            raise UserError(
                f"ridge={ridge:g} of bait is lost in rounding errors where tr F = {trace:.3g}; "
                f"give a larger one, or form='scale_free'"
            )
        return absolute / unit**2

    def _subset(self, context: QueryContext, n: int) -> QueryContext:
        default = None if self.expectation == "binary" else TOP_C_ITEMS
        return restricted(context, self.max_items or default, n, "bait")

    def _factors(self, context: QueryContext) -> tuple["LastLayer", "LastLayer"]:
        """Of the labeled and of the unlabeled items."""
        width = context.num_classes * context.features.shape[1]
        if self.expectation == "top_c" and width > MAX_WIDTH:
            raise UserError(
                f"expectation='top_c' of bait needs matrices of side C · d = {width}; at most "
                f"{MAX_WIDTH} are possible; use expectation='binary'"
            )
        assert context.classifier is not None
        unit_norm = self.form == "scale_free" and ignores_length(
            context.classifier, context.features[:PROBE]
        )
        unlabeled = [self._weights(logits) for _, logits in logit_blocks(context)]
        labeled = []
        for indices in np.array_split(context.labeled, -(-len(context.labeled) // 8192)):
            rows = torch.from_numpy(indices).to(context.features.device)
            labeled.append(self._weights(context.classifier.logits(context.features[rows])))
        return (
            LastLayer(context, context.labeled, torch.cat(labeled), unit_norm),
            LastLayer(context, context.unlabeled, torch.cat(unlabeled), unit_norm),
        )

    def _weights(self, logits: Tensor) -> Tensor:
        """Q of V = q ⊗ h. Shapes: (m, C) -> (m, c, C), or (m, 1, 1)."""
        return torch.cat([self._weights_of(part.double()) for part in logits.split(256)])

    def _weights_of(self, logits: Tensor) -> Tensor:
        if self.expectation == "binary":
            largest = 1 / (logits - logits.amax(dim=1, keepdim=True)).exp_().sum(dim=1)
            return (largest * (1 - largest)).clamp(min=0).sqrt()[:, None, None]
        p = logits.softmax(dim=1)
        top = p.topk(min(self.top_classes, p.shape[1]), dim=1)
        onehot = F.one_hot(top.indices, p.shape[1])
        return top.values.sqrt()[:, :, None] * (onehot - p[:, None])


def ignores_length(classifier: Classifier, features: Tensor) -> bool:
    """Whether features (m, d) of unit norm have the same logits."""
    features = features.float()
    unit = F.normalize(features.double(), dim=1).float()
    return torch.allclose(
        classifier.logits(features), classifier.logits(unit), rtol=1e-3, atol=1e-4
    )


def power_of_two(squared: float) -> float:
    """The power of two next to a square root; 1 for 0 and for what is not finite.

    >>> power_of_two(17.0)
    4.0
    """
    return 2.0 ** round(math.log2(squared) / 2) if 0 < squared < math.inf else 1.0


class LastLayer:
    """Factors V = q ⊗ h (c, C · d) of the Fisher information of a linear layer on inputs h.

    Args:
        context: Gives the features.
        indices: Items of the pool. Shape: (n,).
        q: Shape: (n, c, C).
        unit_norm: Whether h are features of unit norm. Their length is a factor of q then, and they
            are not copied.
    """

    dtype = torch.float32

    def __init__(
        self, context: QueryContext, indices: np.ndarray, q: Tensor, unit_norm: bool = False
    ) -> None:
        self.q = q  # (n, c, C)
        self.width = q.shape[2] * context.features.shape[1]
        self._features = context.features
        self._indices = indices
        self._chunk_bytes = context.chunk_bytes
        norms = [self._slab(part).double().square().sum(dim=1) for part in self._chunks()]
        squared = torch.cat(norms)
        if unit_norm:
            self.q = q * torch.where(squared > 0, squared.rsqrt(), 0.0)[:, None, None]
        self.norms = squared * self.q.square().sum(dim=(1, 2))
        if not torch.isfinite(self.norms).all():
            raise ValueError("the features of the pool hold NaN or infinity")

    def __len__(self) -> int:
        return len(self.q)

    def scale(self, factor: float) -> None:
        self.q = self.q * factor
        self.norms = self.norms * factor**2

    def rows(self, items: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        indices = torch.from_numpy(self._indices).to(items.device)[items]
        return self._factor(self.q[items], self._features[indices], dtype)

    def fisher(self) -> Tensor:
        """Σ VᵀV over the items. Shape: (D, D)."""
        total = self.q.new_zeros(self.width, self.width)
        for part in self._chunks(self.q.shape[1] * self.width):
            v = self._factor(self.q[part], self._slab(part), torch.float64).flatten(0, 1)
            total.addmm_(v.T, v)
        return total

    def project(self, z: Tensor) -> Iterator[tuple[slice, Tensor]]:
        num_classes, k = self.q.shape[2], z.shape[1]
        # (C · d, k) -> (k · C, d): features first meet every class on its own
        z = z.float().view(num_classes, -1, k).permute(2, 0, 1).flatten(0, 1)
        for part in self._chunks(num_classes * k, 4 * ROWS):
            scores = F.linear(
                self._slab(part).float(), z
            )  # faster than z times features, transposed
            scores = scores.T.contiguous().view(k, num_classes, -1)
            q = self.q[part].float()
            if num_classes == 1:
                yield part, scores.transpose(1, 2).mul_(q[:, 0])
            else:
                yield part, (q @ scores.permute(2, 1, 0)).permute(2, 0, 1)

    def _slab(self, part: slice) -> Tensor:
        """Features; rows that lie in one piece of a memory-mapped file are not copied."""
        indices = self._indices[part]
        first, last = int(indices[0]), int(indices[-1])
        if last - first == len(indices) - 1 and np.all(indices[1:] > indices[:-1]):
            return self._features[first : last + 1]
        return self._features[torch.from_numpy(indices).to(self._features.device)]

    @staticmethod
    def _factor(q: Tensor, h: Tensor, dtype: torch.dtype) -> Tensor:
        return (q.to(dtype)[:, :, :, None] * h.to(dtype)[:, None, None, :]).flatten(2)

    def _chunks(self, width: int = 0, most: int = ROWS) -> Iterator[slice]:
        size = self._chunk_bytes // (16 * (self._features.shape[1] + width))
        size = min(most, max(16, size))
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))
