"""TAILOR (Zhang et al., 2023, https://arxiv.org/abs/2302.07317)."""

import hashlib
from typing import Any

import numpy as np

from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.strategies._bases import build_bases, needs_of
from dal_toolbox.active_learning.strategies._pool import share
from dal_toolbox.active_learning.strategies.base import STRATEGIES, QueryStrategy, check_size
from dal_toolbox.active_learning.strategies.ensemble import take_turns
from dal_toolbox.arguments import at_least
from dal_toolbox.seeding import generator


@STRATEGIES.register("tailor")
class Tailor(QueryStrategy):
    """Thompson sampling over strategies: those whose picks bring rare classes choose more often.

    The distribution of the classes of a strategy's picks has a Dirichlet posterior. For each
    pick a distribution is drawn for every strategy; the one with the largest expected reward
    chooses. The reward of a class is one over the number of its labels (class diversity, section 4 of
    the paper); older counts are multiplied by ``decay`` each cycle.

    Who chose what is not remembered but drawn again: the draws follow from the history of the pool and
    from ``seed``, so that an interrupted run goes on as it would have. They differ from run to run
    because the first labels do. Works at cold start where its members do. The cost is the sum of theirs.

    Args:
        strategies: Names of the members.
        decay: Factor of the counts of earlier cycles, in (0, 1].
        seed: Seed of the draws.
        options: Hyperparameters of members, by name.
    """

    def __init__(
        self,
        *,
        strategies: tuple[str, ...] = ("typiclust", "margin", "coreset", "random"),
        decay: float = 0.9,
        seed: int = 0,
        options: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        share(decay=decay)
        at_least(0, seed=seed)
        self.strategies = strategies
        self.options = options
        self._members = build_bases(strategies, options, "tailor")
        self.needs = needs_of(self._members.values())
        self.decay = decay
        self.seed = seed

    @property
    def starts_cold(self) -> bool:
        return all(member.starts_cold for member in self._members.values())

    def query(self, context: QueryContext, n: int) -> np.ndarray:
        check_size(context, n)
        turns = self.turns(
            context.pool.history, context.labels.cpu().numpy(), n, context.num_classes
        )
        members = list(self._members.values())
        needed = np.unique(turns)
        wishes = [members[who].query(context, n) for who in needed]
        return take_turns(wishes, np.searchsorted(needed, turns))

    def turns(
        self, history: list[np.ndarray], labels: np.ndarray, n: int, num_classes: int
    ) -> np.ndarray:
        """Which member makes each of n picks, after the batches of ``history``. Shape: (n,).

        The first batch is the initial selection: nobody's.
        """
        counts = np.ones((len(self._members), num_classes))
        seen, rewards = np.zeros(num_classes), np.ones(num_classes)
        turns = np.empty(0, dtype=np.int64)
        end = 0
        for cycle, batch in enumerate([*history, np.empty(n)]):
            rng = generator(self.seed, "tailor", *_digest(history[:cycle], labels[:end]))
            turns = _draw(counts, rewards, len(batch), rng)
            bought = labels[end : end + len(batch)]
            end += len(bought)
            if cycle > 0 and len(bought) == len(batch):
                counts = 1 + self.decay * (counts - 1)
                np.add.at(counts, (turns, bought), 1)
            np.add.at(seen, bought, 1)
            rewards = 1 / np.maximum(seen, 1)
        return turns


def _draw(counts: np.ndarray, rewards: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """For each of n picks the member with the largest expected reward. Shape: (n,)."""
    values = np.stack([rng.dirichlet(count, size=n) @ rewards for count in counts])  # (members, n)
    return values.argmax(axis=0)


def _digest(history: list[np.ndarray], labels: np.ndarray) -> list[int]:
    """Numbers that stand for what was labeled so far."""
    digest = hashlib.sha256(labels.astype(np.int64).tobytes())
    for batch in history:
        digest.update(np.asarray(batch, dtype=np.int64).tobytes() + b"|")
    return list(digest.digest()[:16])
