"""BAIT (Ash et al., 2021, https://arxiv.org/abs/2106.09675)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._fisher import forward_backward
from dal_toolbox.active_learning.strategies._predictions import blocks
from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

EXPECTATIONS = ("binary", "top_c")
MAX_WIDTH = 8192  # of a Fisher matrix: 0.5 GiB in float64, some of them are needed
SMALL, LARGE = 2**30, 2**32  # bytes of features that are copied to float64, to float32


@STRATEGIES.register("bait")
class Bait(QueryStrategy):
    """Minimizes the Fisher information that the labels leave open: tr((λ + F_L + F_S)⁻¹ F).

    F is the mean Fisher information of the last layer over labeled and unlabeled items, F_L that
    of labeled items times |L| / (|L| + n), and an item of the batch S adds its own times n / (|L| + n).
    Items are added greedily up to ``oversample`` · n, then removed greedily down to n, as in the
    paper. The information of an item is

    - ``binary``: p (1 − p) h hᵀ with the largest probability p, d × d (Huseljic et al., 2024,
      https://arxiv.org/abs/2404.08981); O(N d²) once and O(N d) for a pick;
    - ``top_c``: Σ p_y g_y g_yᵀ over the most likely classes y with g_y = (onehot(y) − p) ⊗ h,
      C · d wide; all classes give BAIT itself. O(N c C² d²) once and O(N c C d) for a pick.

    Features are taken as they are. Ties go to the lowest index. Random at cold start.

    Args:
        expectation: ``binary`` or ``top_c``.
        top_classes: Classes of the expectation ``top_c``; the paper of 2024 takes 2.
        ridge: λ.
        oversample: Items that are added, over n; 1 leaves out the removal.
        max_items: Of the candidates ``top_c`` draws at most so many, and says so in the log.
    """

    def __init__(
        self,
        *,
        expectation: str = "binary",
        top_classes: int = 2,
        ridge: float = 1.0,
        oversample: float = 2.0,
        max_items: int = 50_000,
    ) -> None:
        if expectation not in EXPECTATIONS:
            raise UserError(
                f"expectation='{expectation}' of bait; known: {', '.join(EXPECTATIONS)}"
            )
        if top_classes < 1 or max_items < 1:
            raise UserError(f"top_classes={top_classes}, max_items={max_items}: at least 1 of bait")
        if ridge <= 0 or oversample < 1:
            raise UserError(
                f"ridge={ridge}, oversample={oversample} of bait: ridge must be positive and "
                f"oversample at least 1"
            )
        self.expectation = expectation
        self.top_classes = top_classes
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
        width = labeled.width
        known, open_ = labeled.fisher(), unlabeled.fisher()  # sums over items
        start = self.ridge * torch.eye(width, dtype=known.dtype, device=known.device)
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

    def _subset(self, context: QueryContext, n: int) -> QueryContext:
        size = max(self.max_items, n)
        if self.expectation == "binary" or len(context.unlabeled) <= size:
            return context
        log.info("Bait: %d of %d candidates are drawn at random", size, len(context.unlabeled))
        return context.restrict(context.rng.permutation(context.unlabeled)[:size])

    def _factors(self, context: QueryContext) -> tuple["LastLayer", "LastLayer"]:
        """Of the labeled and of the unlabeled items."""
        width = context.num_classes * context.features.shape[1]
        if self.expectation == "top_c" and width > MAX_WIDTH:
            raise UserError(
                f"expectation='top_c' of bait needs matrices of side C · d = {width}; at most "
                f"{MAX_WIDTH} are possible; use expectation='binary'"
            )
        unlabeled = [self._weights(block.probabilities) for _, block in blocks(context)]
        labeled = []
        for indices in np.array_split(context.labeled, -(-len(context.labeled) // 8192)):
            rows = torch.from_numpy(indices).to(context.features.device)
            assert context.classifier is not None
            p = context.classifier.probabilities(context.features[rows]).double()
            labeled.append(self._weights(p))
        return (
            LastLayer(context, context.labeled, torch.cat(labeled)),
            LastLayer(context, context.unlabeled, torch.cat(unlabeled)),
        )

    def _weights(self, p: Tensor) -> Tensor:
        """Q of V = q ⊗ h. Shapes: (m, C) -> (m, c, C), or (m, 1, 1)."""
        if self.expectation == "binary":
            largest = p.amax(dim=1)
            return (largest * (1 - largest)).clamp(min=0).sqrt()[:, None, None]
        top = p.topk(min(self.top_classes, p.shape[1]), dim=1)
        onehot = torch.nn.functional.one_hot(top.indices, p.shape[1])
        return top.values.sqrt()[:, :, None] * (onehot - p[:, None])


class LastLayer:
    """Factors V = q ⊗ h (c, C · d) of the Fisher information of a linear layer on features h."""

    def __init__(self, context: QueryContext, indices: np.ndarray, q: Tensor) -> None:
        self.q = q  # (n, c, C)
        self.dtype = (
            torch.float64 if len(q) * context.features.shape[1] * 8 <= SMALL else torch.float32
        )
        self.width = q.shape[2] * context.features.shape[1]
        self._features = context.features
        self._indices = torch.from_numpy(indices).to(context.features.device)
        self._chunk_bytes = context.chunk_bytes
        norms = [self._h(part).double().square().sum(dim=1) for part in self._chunks()]
        self.norms = torch.cat(norms) * q.square().sum(dim=(1, 2))
        if not torch.isfinite(self.norms).all():
            raise ValueError("the features of the pool hold NaN or infinity")
        self._copy: Tensor | None = None

    def __len__(self) -> int:
        return len(self.q)

    def scale(self, factor: float) -> None:
        self.q = self.q * factor
        self.norms = self.norms * factor**2

    def rows(self, items: Tensor) -> Tensor:
        h = self._h(items).double()
        return (self.q[items][:, :, :, None] * h[:, None, None, :]).flatten(2)

    def fisher(self) -> Tensor:
        """Σ VᵀV over the items. Shape: (D, D)."""
        total = self.q.new_zeros(self.width, self.width)
        everything = torch.arange(len(self), device=self.q.device)
        for part in self._chunks(self.q.shape[1] * self.width):
            v = self.rows(everything[part]).flatten(0, 1)
            total += v.T @ v
        return total

    def project(self, z: Tensor) -> Iterator[tuple[slice, Tensor]]:
        if self._copy is None and len(self) * self._features.shape[1] * 4 <= LARGE:
            self._copy = self._h(slice(None)).to(self.dtype)
        num_classes, k = self.q.shape[2], z.shape[1]
        # (C · d, k) -> (d, C · k): features first meet every class on its own
        z = z.view(num_classes, -1, k).transpose(0, 1).flatten(1).to(self.dtype)
        for part in self._chunks(num_classes * k):
            h = self._h(part).to(self.dtype) if self._copy is None else self._copy[part]
            scores = (h @ z).view(-1, num_classes, k)
            q = self.q[part]
            yield part, q * scores if num_classes == 1 else q.to(self.dtype) @ scores

    def _h(self, items: slice | Tensor) -> Tensor:
        return self._features[self._indices[items]]

    def _chunks(self, width: int = 0) -> Iterator[slice]:
        size = max(16, self._chunk_bytes // (16 * (self._features.shape[1] + width)))
        for start in range(0, len(self), size):
            yield slice(start, min(start + size, len(self)))
