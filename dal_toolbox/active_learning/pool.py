"""Which items of a dataset are labeled."""

from collections.abc import Iterable
from functools import cached_property
from typing import Self

import numpy as np


class Pool:
    """The items 0, …, size − 1, of which some are labeled.

    The only state is ``history`` and ``set_aside``. Every index is a dataset index (int64), never a
    position in the unlabeled part. The arrays are cached: they are to be read, not written.

    Args:
        size: Number of items.

    >>> pool = Pool(6)
    >>> pool.label([4, 1])
    >>> pool.label([3])
    >>> pool.labeled, pool.unlabeled
    (array([4, 1, 3]), array([0, 2, 5]))
    """

    history: list[np.ndarray]
    """Indices labeled together, batch after batch, each in order of choice."""
    set_aside: np.ndarray
    """Indices that got no label and are not asked for again, such as images that nobody can judge."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a pool of size={size}: at least 1 item is needed")
        self.size = size
        self.history = []
        self.set_aside = np.empty(0, np.int64)

    @classmethod
    def from_history(cls, size: int, history: Iterable[np.ndarray]) -> Self:
        """The pool after labeling the batches of ``history``, one after the other."""
        pool = cls(size)
        for indices in history:
            pool.label(indices)
        return pool

    def label(self, indices: np.ndarray | list[int]) -> None:
        """Marks items as labeled.

        Args:
            indices: Distinct dataset indices of unlabeled items, in order of choice; none is fine.

        Raises:
            ValueError: Repeated, out of range, labeled already or no integers. Nothing is changed.
        """
        indices = check_unlabeled(indices, self)
        self.history.append(indices)
        self._forget()

    def skip(self, indices: np.ndarray | list[int]) -> None:
        """Sets items aside: they are neither labeled nor unlabeled from now on.

        Args:
            indices: Distinct dataset indices of unlabeled items.

        Raises:
            ValueError: As in :meth:`label`. Nothing is changed.
        """
        self.set_aside = np.concatenate([self.set_aside, check_unlabeled(indices, self)])
        self._forget()

    def _forget(self) -> None:
        for name in ("labeled", "unlabeled", "is_labeled"):
            self.__dict__.pop(name, None)

    @cached_property
    def labeled(self) -> np.ndarray:
        """Indices in order of acquisition. Shape: (num_labeled,)."""
        return np.concatenate([np.empty(0, np.int64), *self.history])

    @cached_property
    def unlabeled(self) -> np.ndarray:
        """Indices to choose from, in ascending order. Shape: (size − num_labeled − set aside,)."""
        is_left = ~self.is_labeled
        is_left[self.set_aside] = False
        return np.flatnonzero(is_left)

    @cached_property
    def is_labeled(self) -> np.ndarray:
        """Whether each item is labeled, bool. Shape: (size,)."""
        mask = np.zeros(self.size, dtype=bool)
        mask[self.labeled] = True
        return mask

    @property
    def num_labeled(self) -> int:
        return len(self.labeled)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return (
            f"Pool(size={self.size}, num_labeled={self.num_labeled}, batches={len(self.history)})"
        )


def check_unlabeled(indices: np.ndarray | list[int], pool: Pool) -> np.ndarray:
    """A fresh int64 array of distinct unlabeled items of ``pool``.

    Raises:
        ValueError: Repeated, out of range, labeled already, not one-dimensional or no integers.
    """
    array = np.asarray(indices)
    if array.ndim != 1 or not (array.size == 0 or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(
            f"indices of shape {array.shape} and type {array.dtype}: a row of integers"
        )
    array = array.astype(np.int64)
    outside = array[(array < 0) | (array >= pool.size)]
    if len(outside):
        raise ValueError(f"index {outside[0]} is outside of the pool (0 to {pool.size - 1})")
    values, counts = np.unique(array, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"index {values[counts > 1][0]} occurs more than once")
    labeled = array[pool.is_labeled[array]]
    if len(labeled):
        raise ValueError(f"index {labeled[0]} is labeled already")
    aside = array[np.isin(array, pool.set_aside)]
    if len(aside):
        raise ValueError(f"index {aside[0]} is set aside")
    return array
