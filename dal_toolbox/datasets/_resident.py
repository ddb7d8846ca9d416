"""Decoded images that lie in one tensor, and their batches."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.datasets.base import ImageArray, Images, as_rows
from dal_toolbox.datasets.loader import ImageLoader


class ResidentImages(ImageArray):
    """Decoded images in one tensor of a device, with the content and fingerprint of their source.

    Args:
        source: The same images, wherever they lie.
        images: All of them. Shape: (n, c, h, w), uint8.
        device: Where batches are wanted.
    """

    def __init__(self, source: Images, images: Tensor, device: torch.device) -> None:
        super().__init__(images, source.targets, source.names)
        self.source = source
        self.skipped = source.skipped
        self.device = device

    @property
    def on_device(self) -> bool:
        """Whether the tensor is on the device where batches are wanted."""
        return self._storage.device == self.device

    @property
    def images(self) -> Tensor:
        return self._storage if self._rows is None else self.batch(np.arange(len(self)))

    def batch(self, indices: np.ndarray) -> Tensor:
        return self.take(self.places(as_rows(indices, len(self))))

    def places(self, rows: np.ndarray) -> Tensor:
        """Where images ``rows`` (b,) are in the tensor, on its device. Shape: (b,)."""
        places = rows if self._rows is None else self._rows[rows]
        return torch.from_numpy(places).to(self._storage.device)

    def take(self, places: Tensor) -> Tensor:
        """The images at ``places`` (b,), on the device where batches are wanted."""
        if self.on_device or self.device.type != "cuda":
            return self._storage.index_select(0, places).to(self.device)
        shape = (len(places), *self.shape)
        # Pinned blocks are reused by torch, and only after the copy out of them is done.
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        torch.index_select(self._storage, 0, places, out=batch)
        return batch.to(self.device, non_blocking=True)

    def _digest(self) -> str:
        return self.source.fingerprint


class ResidentLoader(ImageLoader):
    """An :class:`ImageLoader` of resident images: the same batches, on their device.

    Order and targets are moved there once an epoch; where the images lie there, too, a batch is
    selected without any copy from the host.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        images = self.images
        assert isinstance(images, ResidentImages)
        order = np.concatenate([*self._batches(), np.empty(0, np.int64)])
        places = images.places(order)
        rows = torch.from_numpy(order).to(images.device)
        targets = torch.from_numpy(images.targets[order]).to(images.device)
        parts = (part.split(self.batch_size) for part in (places, targets, rows))
        for place, target, row in zip(*parts, strict=True):
            if len(place):
                yield images.take(place), target, row
