"""BatchBALD (Kirsch et al., 2019, https://arxiv.org/abs/1906.08158)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._predictions import block_of, blocks, posterior_rows
from dal_toolbox.active_learning.strategies.bald import entropy, mutual_information
from dal_toolbox.active_learning.strategies.base import (
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.progress import log
from dal_toolbox.seeding import draw_seed

BLOCK = 64  # items that are measured at once
DECIMALS = 10  # of a gain in nats: beyond is rounding error; ties go to the lowest index


@STRATEGIES.register("batchbald")
class BatchBALD(QueryStrategy):
    """Greedily adds the item with the largest I(y₁, …, y_b; θ): informative and not redundant.

    The gain of an item x is Σ_y P(y) H(y_x | y) − E_θ H(y_x | θ) over the joint labels y of the
    batch so far. They are enumerated as long as there are at most ``max_configurations`` with the
    class of x, and from then on represented by a sample of that size: the labels of the last
    item are enumerated once more, and systematic resampling keeps as many as fit. Gains only
    fall (submodularity), so an item is measured again only when its old gain leads: greedy
    exactly while labels are enumerated, afterwards up to the error of the sample.

    A batch tells at most log M nats about M draws: M should be well above n for large batches.
    Needs a classifier with a posterior; random at cold start. Ties go to the lowest index.
    O(N C M) for the first pick and O(k C M) for each measured item with k configurations; memory
    is that of the samples of measured items.

    Args:
        max_configurations: Bound of the joint labels of the batch and one more item.
    """

    def __init__(self, *, max_configurations: int = 10_000) -> None:
        if max_configurations < 1:
            raise ValueError(f"max_configurations={max_configurations}: at least one is needed")
        self.max_configurations = max_configurations

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return random_query(context, n, instead_of=type(self).__name__)
        items = Measured.of(context)
        joint = None
        limit = max(1, self.max_configurations // context.num_classes)
        picks: list[int] = []
        while len(picks) < n:
            picks.append(items.best(joint, context.chunk_bytes))
            if len(picks) < n:
                samples = items.samples(picks[-1:])[0].double()
                joint = Joint.prior(samples) if joint is None else joint
                joint = joint.extended(samples, limit, context.rng)
        return context.unlabeled[picks]


@dataclass(frozen=True)
class Joint:
    """Joint labels of the batch with their probabilities, and what they say about θ."""

    weights: Tensor  # (k,) sums to 1
    posterior: Tensor  # (k, M) P(θ_m | labels), rows sum to 1
    sampled: bool = False

    @classmethod
    def prior(cls, samples: Tensor) -> "Joint":
        """Of the empty batch."""
        m = samples.shape[1]
        return cls(samples.new_ones(1), samples.new_full((1, m), 1 / m))

    def extended(self, samples: Tensor, limit: int, rng: np.random.Generator) -> "Joint":
        """With one more item, its samples (C, M); at most ``limit`` configurations are kept."""
        conditional = self.posterior @ samples.T  # (k, C)
        weights = (self.weights[:, None] * conditional).flatten()  # (k · C,)
        kept = weights.nonzero().squeeze(1)
        sampled = len(kept) > limit
        if sampled:
            if not self.sampled:
                log.info("BatchBALD: joint labels are sampled, %d of %d", limit, len(kept))
            kept = _systematic(weights, limit, rng)
        old, label = kept // len(samples), kept % len(samples)
        posterior = self.posterior[old] * samples[label]  # (k', M)
        posterior /= posterior.sum(dim=1, keepdim=True)
        new = torch.full_like(weights[kept], 1 / limit) if sampled else weights[kept]
        return Joint(new / new.sum(), posterior, self.sampled or sampled)

    def gains(self, samples: Tensor, chunk_bytes: int) -> Tensor:
        """Information of items beyond that of the batch, in nats. Shapes: (m, C, M) -> (m,)."""
        m, C, M = samples.shape
        samples = samples.double()
        flat = samples.permute(2, 0, 1).reshape(M, m * C)
        size = max(16, M, chunk_bytes // (16 * m * C))  # samples take as much as M configurations
        total = samples.new_zeros(m)
        for weights, posterior in zip(
            self.weights.split(size), self.posterior.split(size), strict=True
        ):
            p = (posterior @ flat).view(-1, m, C)
            total += weights @ torch.special.entr(p).sum(dim=2)
        gains = total - entropy(samples).mean(dim=1)
        return gains.clamp(min=0).round(decimals=DECIMALS)


class Measured:
    """The candidates with upper bounds of their gains, and the samples of those measured."""

    def __init__(self, context: QueryContext, bounds: np.ndarray, seed: int) -> None:
        self._context = context
        self._unlabeled = context.unlabeled
        self._seed = seed
        self._samples: dict[int, Tensor] = {}
        self.bounds = bounds

    @classmethod
    def of(cls, context: QueryContext) -> "Measured":
        """Bounded by BALD, the gain in an empty batch."""
        seed = draw_seed(context.rng)
        bounds = np.zeros(len(context.unlabeled))
        for part, block in blocks(context, posterior_rows(context.num_classes), seed=seed):
            bounds[part] = mutual_information(block.samples).round(decimals=DECIMALS).cpu().numpy()
        return cls(context, bounds, seed)

    def best(self, joint: Joint | None, chunk_bytes: int) -> int:
        """Position of the largest gain, which then is used up."""
        order = np.argsort(-self.bounds, kind="stable")
        done = 0
        best = -np.inf
        while joint is not None and done < len(order) and self.bounds[order[done]] >= best:
            some = order[done : done + BLOCK]
            some = some[self.bounds[some] >= 0]
            if len(some) == 0:
                break
            gains = joint.gains(self.samples(some.tolist()), chunk_bytes).cpu().numpy()
            self.bounds[some] = gains
            best = max(best, float(gains.max()))
            done += len(some)
        position = int(self.bounds.argmax())
        self.bounds[position] = -1.0
        return position

    def samples(self, positions: list[int]) -> Tensor:
        """Of some items, the same draws for all. Shape: (m, C, M)."""
        missing = sorted(position for position in positions if position not in self._samples)
        if missing:
            block = block_of(self._context, self._unlabeled[missing], self._seed)
            self._samples.update(zip(missing, block.samples, strict=True))
        return torch.stack([self._samples[position] for position in positions])


def _systematic(weights: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Positions drawn in proportion to weights, evenly spread; unbiased. Shape: (size,)."""
    edges = weights.cumsum(dim=0)
    points = (torch.arange(size, dtype=edges.dtype) + rng.random()) / size
    found = torch.searchsorted(edges, points.to(edges) * edges[-1], right=True)
    return found.clamp(max=int(weights.nonzero()[-1]))
