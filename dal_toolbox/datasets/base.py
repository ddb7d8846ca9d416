"""What a dataset is: splits of images with targets and names, and the facts about them."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.errors import UserError
from dal_toolbox.registry import Registry


class DatasetNotFound(UserError, FileNotFoundError, ValueError):
    """The data is not where it was looked for; the message says what to put where."""


class SkippedFile(NamedTuple):
    """A file that was left out of a dataset, and why."""

    name: str
    reason: str


class Images(ABC):
    """Images with targets and names; the latter two never need an image to be decoded.

    Args:
        targets: Class indices, -1 = no label. Shape: (n,).
        names: Stable and unique ids, such as relative paths. Length: n.
    """

    _whole: "Images | None" = None  # of a subset: the images that it was taken from first ...
    _rows: np.ndarray | None = None  # ... and its rows there
    skipped: tuple[SkippedFile, ...] = ()  # files that were left out of the whole

    def __init__(self, targets: np.ndarray, names: Sequence[str]) -> None:
        self.targets = np.ascontiguousarray(targets, dtype=np.int64)
        self.names = names
        if self.targets.shape != (len(names),):
            raise ValueError(f"targets of shape {self.targets.shape} for {len(names)} names")

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of every image."""

    @abstractmethod
    def batch(self, indices: np.ndarray) -> Tensor:
        """The images at ``indices`` (b,). Shape: (b, c, h, w), uint8, contiguous."""

    @abstractmethod
    def _digest(self) -> str:
        """Hex digest of the content of the whole."""

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: np.ndarray) -> Self:
        """The images at ``indices`` (b,), in that order; shares the memory of this one."""
        rows = as_rows(indices, len(self))
        part = copy(self)
        part.targets = self.targets[rows]
        part.names = [self.names[row] for row in rows.tolist()]
        part._rows = rows if self._rows is None else self._rows[rows]
        part._whole = self if self._whole is None else self._whole
        return part

    @property
    def fingerprint(self) -> str:
        """Hex digest of the content; of a subset: of the whole and the rows taken from it."""
        if self._whole is None or self._rows is None:
            return self._cached_digest
        part = self._rows.tobytes() + self.targets.tobytes()  # targets: they may have new numbers
        return sha256(self._whole.fingerprint.encode() + part).hexdigest()

    @property
    def content_fingerprint(self) -> str:
        """Hex digest of names and content, without the targets and whatever else the whole holds.

        Unlike ``fingerprint``, it stays when files are added elsewhere, copied, or get other class numbers.
        """
        whole = self if self._whole is None else self._whole
        contents = whole._item_digests()
        if contents is None:
            return self.fingerprint
        rows = slice(None) if self._rows is None else self._rows
        digest = sha256(os.fsencode("\0".join(self.names)))
        digest.update(np.ascontiguousarray(contents[rows]).tobytes())
        return digest.hexdigest()

    def _item_digests(self) -> np.ndarray | None:
        """Digest of each item of a whole to which others may be added; uint64. Shape: (n,)."""
        return None

    @cached_property
    def _cached_digest(self) -> str:
        return self._digest()


class ImageArray(Images):
    """Images that lie in memory or in a memory-mapped file.

    Args:
        images: The images. Shape: (n, c, h, w), uint8.
        targets: Class indices, -1 = no label. Shape: (n,).
        names: Stable and unique ids. Length: n.
        digest: Hex digest of the bytes of ``images`` where it is known; computed when needed.

    >>> images = ImageArray(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), np.arange(3), ["a", "b", "c"])
    >>> images.subset(np.array([2, 0])).names
    ['c', 'a']
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        targets: np.ndarray,
        names: Sequence[str],
        *,
        digest: str | None = None,
    ) -> None:
        super().__init__(targets, names)
        storage = torch.as_tensor(images)
        if storage.dtype != torch.uint8 or storage.ndim != 4 or len(storage) != len(self):
            raise ValueError(
                f"images are {storage.dtype} of shape {tuple(storage.shape)}; "
                f"wanted torch.uint8 of shape ({len(self)}, c, h, w)"
            )
        self._storage = storage.contiguous()
        self._bytes_digest = digest

    @property
    def images(self) -> Tensor:
        """All images (n, c, h, w); of a subset a view if its rows are consecutive, else a copy."""
        if self._rows is None:
            return self._storage
        if len(self) and np.all(np.diff(self._rows) == 1):
            return self._storage[self._rows[0] : self._rows[-1] + 1]
        return self._storage.index_select(0, torch.from_numpy(self._rows))

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._storage.shape[1:]
        return channels, height, width

    def batch(self, indices: np.ndarray) -> Tensor:
        rows = as_rows(indices, len(self))
        if self._rows is not None:
            rows = self._rows[rows]
        # index_select: 6 to 10 times as fast as images[rows], 1.5 times as fast as numpy's take
        return self._storage.index_select(0, torch.from_numpy(rows))

    def _digest(self) -> str:
        if self._bytes_digest is None:
            self._bytes_digest = sha256(self._storage.numpy().data).hexdigest()
        facts = f"{self._bytes_digest}\n{tuple(self._storage.shape)}\n" + "\n".join(self.names)
        return sha256(facts.encode(errors="surrogateescape") + self.targets.tobytes()).hexdigest()


@dataclass(frozen=True)
class DatasetBundle:
    """The splits of one dataset, and its facts.

    Args:
        name: What it is called in reports.
        train: Images to learn from: the pool of active learning.
        val: Images for choices during training, if any were set apart.
        test: Images for the final evaluation; None where there is nothing to evaluate on.
        unlabeled: Further images without labels, if any.
        classes: Class names; target i is ``classes[i]``.
        image_size: Height and width that networks get; images may be stored larger.
        mean: Mean of each channel of images in [0, 1], to normalize with. Length: c.
        std: Standard deviation, likewise. Length: c.
    """

    name: str
    train: Images
    val: Images | None
    test: Images | None
    unlabeled: Images | None
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        shape = (len(self.mean), self.image_size, self.image_size)
        for part in self._parts:
            channels, height, width = part.shape
            if channels != shape[0] or height != width or height < self.image_size:
                raise ValueError(f"images of shape {part.shape} in a dataset of shape {shape}")
            if len(part) and not -1 <= part.targets.min() <= part.targets.max() < self.num_classes:
                raise ValueError(
                    f"targets from {part.targets.min()} to {part.targets.max()} of "
                    f"{self.num_classes} classes; wanted 0 to {self.num_classes - 1}, or -1: none"
                )

    @property
    def _parts(self) -> list[Images]:
        parts = (self.train, self.val, self.test, self.unlabeled)
        return [part for part in parts if part is not None]

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """Files that could not be decoded and were left out."""
        return tuple(dict.fromkeys(file for part in self._parts for file in part.skipped))

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def in_channels(self) -> int:
        return len(self.mean)


def as_rows(indices: np.ndarray, size: int) -> np.ndarray:
    """``indices`` as int64 that torch may share.

    Raises:
        ValueError: They are no list of integers (a mask, for example).
        IndexError: One is not in [0, size).
    """
    rows = np.asarray(indices)
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and len(rows)):
        raise ValueError(f"indices are {rows.dtype} of shape {rows.shape}; wanted integers (b,)")
    if len(rows) and not 0 <= rows.min() <= rows.max() < size:
        raise IndexError(f"indices from {rows.min()} to {rows.max()} of {size} images")
    return np.require(rows, np.int64, ["C", "W"])


DATASETS: Registry[DatasetBundle] = Registry(
    "dataset", package="dal_toolbox.datasets", entry_points="dal_toolbox.datasets"
)
