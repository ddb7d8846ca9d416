"""Batches of images, targets and indices in a reproducible order."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dal_toolbox.arguments import at_least
from dal_toolbox.datasets.base import ImageArray, Images
from dal_toolbox.errors import UserError
from dal_toolbox.seeding import generator

T = TypeVar("T")


class BatchTooLarge(UserError, ValueError):
    """A batch size larger than the dataset, where only full batches are wanted."""


class ImageLoader:
    """Iterates over images (b, c, h, w) uint8, targets (b,) int64, indices (b,) int64.

    Args:
        images: What to iterate over; the indices are its rows.
        batch_size: Images in a batch.
        shuffle: A new order in each epoch, a pure function of ``seed`` and ``epoch``.
        drop_last: Leaves out a last batch that is not full.
        num_workers: Processes that decode files; no more are started than there are processors
            or batches. An ``ImageArray`` is indexed right here, which is faster.
        seed: Seed of the order.

    Raises:
        ValueError: ``batch_size`` is below 1.
        BatchTooLarge: ``drop_last`` would leave out every image.

    >>> images = ImageArray(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), np.arange(5), list("abcde"))
    >>> [indices.tolist() for _, _, indices in ImageLoader(images, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        at_least(1, batch_size=batch_size)
        if drop_last and len(images) < batch_size:
            raise BatchTooLarge(
                f"a batch of {batch_size} cannot be filled by {len(images)} images; "
                f"choose a batch size of at most {len(images)}"
            )
        self.images = images
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next iterations; iterating does not advance it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of batches."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields the batches of this epoch.

        Raises:
            CorruptImage: A file cannot be decoded, be it in a worker process.
        """
        batches = self._batches()
        for rows, images in zip(batches, self._decoded(batches), strict=True):
            yield images, torch.from_numpy(self.images.targets[rows]), torch.from_numpy(rows)

    def _batches(self) -> list[np.ndarray]:
        order = np.arange(len(self.images))
        if self.shuffle:
            order = generator(self.seed, "order", self.epoch).permutation(order)
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return [order[start : start + self.batch_size] for start in starts]

    def _decoded(self, batches: list[np.ndarray]) -> Iterator[Tensor]:
        in_memory = isinstance(self.images, ImageArray)
        return map_batches(self.images.batch, batches, 0 if in_memory else self.num_workers)


def map_batches(
    function: Callable[[np.ndarray], T], batches: Sequence[np.ndarray], num_workers: int
) -> Iterator[T]:
    """``function`` of each batch of rows, in order, computed in worker processes.

    Args:
        function: What is computed.
        batches: Rows (b,) for each call.
        num_workers: Processes; no more are started than there are processors or batches.

    Raises:
        UserError: ``function`` raised it, be it in a worker process.
    """
    num_workers = min(num_workers, _num_processors(), len(batches))
    if num_workers < 1:
        yield from map(function, batches)
        return
    for result in DataLoader(
        _Calls(function),
        batch_size=None,  # an item is a whole batch
        sampler=batches,
        num_workers=num_workers,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # else it draws from the global one
    ):
        if isinstance(result, UserError):
            raise result
        yield result


class _Calls(Dataset[Any]):
    """Calls a function in a worker process.

    A user's mistake travels as a value: raised there, it would come back with the traceback of
    the worker as its message.
    """

    def __init__(self, function: Callable[[np.ndarray], Any]) -> None:
        self.function = function

    def __getitem__(self, indices: np.ndarray) -> Any:
        try:
            return self.function(indices)
        except UserError as error:
            return error


def _unchanged(batch: Any) -> Any:
    return batch


def _num_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
