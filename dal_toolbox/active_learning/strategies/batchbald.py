"""BatchBALD (Kirsch et al., 2019, https://arxiv.org/abs/1906.08158)."""

from collections import ChainMap
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._pool import restricted
from dal_toolbox.active_learning.strategies._predictions import block_of, blocks, posterior_rows
from dal_toolbox.active_learning.strategies._screening import error, in_cache
from dal_toolbox.active_learning.strategies.bald import BALD, entropy, rough_information
from dal_toolbox.active_learning.strategies.base import (
    POSTERIOR,
    STRATEGIES,
    QueryStrategy,
    check_size,
    random_query,
)
from dal_toolbox.arguments import at_least
from dal_toolbox.progress import log
from dal_toolbox.seeding import draw_seed

BLOCK, MOST = 64, 1024  # items that are measured at once, at first and when there are many
CACHE = 2**16  # joint probabilities that are worked on at once
KEPT = 2**28  # bytes of samples that are kept; those of further items are asked for again
NEGLIGIBLE = 1e-12  # nats that all configurations left out may tell at most
RESOLUTION = 1e-5  # nats: where all items together cannot tell more, there is nothing to choose by
DECIMALS = 10  # of a gain in nats: beyond is rounding error; ties go to the lowest index


@STRATEGIES.register("batchbald")
class BatchBALD(QueryStrategy):
    """Greedily adds the item with the largest I(y₁, …, y_b; θ): informative and not redundant.

    The gain of an item x is Σ_y P(y) I(y_x; θ | y) over the joint labels y of the
    batch so far. They are enumerated as long as there are at most ``max_configurations`` with the
    class of x, and from then on represented by a sample of that size: the labels of the last
    item are enumerated once more, and systematic resampling keeps as many as fit. Gains only
    fall (submodularity), so an item is measured again only when its old gain leads: greedy
    exactly while labels are enumerated, afterwards up to the error of the sample. No gain is
    above H(θ | y), which is what configurations that tell θ are left out by.

    A batch tells at most log M nats about M draws: M should be well above n for large batches. Once
    less than 1e-5 nats are left to tell, BALD chooses the others, which is logged.
    Needs a classifier with a posterior; random at cold start. Ties go to the lowest index. Above
    ``max_items`` a random subset of the items is chosen from, which is logged.
    O(N C M d) once and O(k C M) for each measured item with k configurations. Float32 bounds
    tell which items are measured, in float64. Memory is O(N) and 256 MiB of samples.

    Args:
        max_configurations: Bound of the joint labels of the batch and one more item.
        max_items: Unlabeled items to choose from; none: all.
    """

    needs = POSTERIOR

    def __init__(self, *, max_configurations: int = 10_000, max_items: int | None = 50_000) -> None:
        at_least(1, max_configurations=max_configurations)
        if max_items is not None:
            at_least(1, max_items=max_items)
        self.max_configurations = max_configurations
        self.max_items = max_items

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        if context.classifier is None:
            return random_query(context, n, instead_of=type(self).__name__)
        context = restricted(context, self.max_items, n, "batchbald")
        items = Measured.of(context)
        limit = max(1, self.max_configurations // context.num_classes)
        picks: list[int] = []
        joint = Joint.prior(items.samples([0])[0].double()) if n else None
        while joint is not None and len(picks) < n and joint.left > RESOLUTION:
            picks.append(items.best(joint))
            joint = joint.extended(items.samples(picks[-1:])[0].double(), limit, context.rng)
        chosen = context.unlabeled[picks]
        if len(picks) == n:
            return chosen
        log.info("BatchBALD: %d items tell all about the posterior's draws, then BALD", len(picks))
        others = context.restrict(np.delete(context.unlabeled, picks))
        return np.concatenate([chosen, BALD().query(others, n - len(picks))])


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

    @cached_property
    def open(self) -> Tensor:
        """P(y) H(θ | y), what is not known of θ: bounds each part of any gain. Shape: (k,)."""
        return self.weights * entropy(self.posterior)

    @cached_property
    def left(self) -> float:
        """Bound of all gains, also of all items together, in nats."""
        return round(float(self.open.sum()), DECIMALS)

    def gains(self, samples: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """Σ_y P(y) I(y_x; θ | y) of items, in nats, float64. Shapes: (m, C, M) -> (m,).

        Entropies are taken in ``dtype``; float32 keeps to ``_screening.error``.
        """
        C, M = samples.shape[1:]
        order = self.open.argsort()
        kept = order[self.open[order].cumsum(dim=0) > NEGLIGIBLE].sort().values
        weights, posterior = self.weights[kept], self.posterior[kept]
        draws = weights @ posterior  # (M,)
        gains = []
        for part in samples.to(dtype).split(max(1, CACHE // (16 * C))):
            flat = part.permute(2, 1, 0).reshape(M, -1)  # items last: sums over classes are fast
            each = entropy(flat.view(M, C, -1)).double()  # (M, m)
            total = -(draws @ each)
            size = max(16, CACHE // flat.shape[1])
            for w, q in zip(weights.split(size), posterior.to(dtype).split(size), strict=True):
                total += w @ entropy((q @ flat).view(len(w), C, -1)).double()
            gains.append(total)
        return torch.cat(gains).clamp(min=0).round(decimals=DECIMALS)


class Measured:
    """The candidates with upper bounds of their gains, and the samples of those measured."""

    def __init__(self, context: QueryContext, bounds: np.ndarray, seed: int, error: float) -> None:
        self._context = context
        self._unlabeled = context.unlabeled
        self._seed = seed
        self._error = error
        self._samples: dict[int, Tensor] = {}
        self._bytes = 0
        self.bounds = bounds

    @classmethod
    def of(cls, context: QueryContext) -> "Measured":
        """Bounded by BALD, the gain in an empty batch."""
        seed = draw_seed(context.rng)
        bounds = np.zeros(len(context.unlabeled))
        margin = 0.0
        for part, block in blocks(context, posterior_rows(context.num_classes), seed=seed):
            margin = error(block.samples)
            rough = torch.cat(list(in_cache(rough_information, block.samples)))
            bounds[part] = rough.double().cpu().numpy() + margin
        return cls(context, bounds, seed, margin)

    def best(self, joint: Joint) -> int:
        """Position of the largest gain, which then is used up."""
        np.minimum(self.bounds, joint.left, out=self.bounds)
        first = int(self.bounds.argmax())
        best = self._measure(np.array([first]), joint, torch.float64)
        order = np.flatnonzero((self.bounds >= best) & (self.bounds > 0))
        order = order[order != first]
        order = order[np.argsort(-self.bounds[order], kind="stable")]
        done = 0
        while done < len(order) and self.bounds[order[done]] >= best:
            some = order[done : done + max(BLOCK, min(done, MOST))]
            done += len(some)
            if best > 8 * self._error:
                self._measure(some, joint, torch.float32)
            some = some[self.bounds[some] >= best]
            best = max(best, self._measure(some, joint, torch.float64))
        position = int(self.bounds.argmax())
        self.bounds[position] = -1.0
        return position

    def _measure(self, some: np.ndarray, joint: Joint, dtype: torch.dtype) -> float:
        """Makes gains, or float32 gains and their error, the bounds of items; the largest of them."""
        some = some[self.bounds[some] > 0]  # 0 is a bound that no gain is below
        if len(some) == 0:
            return 0.0
        gains = joint.gains(self.samples(some.tolist()), dtype).cpu().numpy()
        if dtype == torch.float32:
            gains = np.minimum(self.bounds[some], gains + self._error)
        self.bounds[some] = gains
        return float(gains.max())

    def samples(self, positions: list[int]) -> Tensor:
        """Of some items, the same draws for all. Shape: (m, C, M)."""
        missing = sorted(position for position in positions if position not in self._samples)
        if not missing:
            return torch.stack([self._samples[position] for position in positions])
        block = block_of(self._context, self._unlabeled[missing], self._seed).samples
        found = dict(zip(missing, block, strict=True))
        if self._bytes < KEPT:
            self._bytes += block.nbytes
            self._samples.update(found)
        both = ChainMap(found, self._samples)
        return torch.stack([both[position] for position in positions])


def _systematic(weights: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Positions drawn in proportion to weights, evenly spread; unbiased. Shape: (size,)."""
    edges = weights.cumsum(dim=0)
    points = (torch.arange(size, dtype=edges.dtype) + rng.random()) / size
    found = torch.searchsorted(edges, points.to(edges) * edges[-1], right=True)
    return found.clamp(max=int(weights.nonzero()[-1]))
