"""Augmentation of whole batches: all views of all images in one pass of tensor operations."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dal_toolbox.arguments import at_least, between, one_of, positive
from dal_toolbox.augment.parameters import Distribution
from dal_toolbox.augment.pipeline import augment, per_channel
from dal_toolbox.augment.view import LARGEST, View

CHUNK_BYTES = {"cpu": 8 * 2**20}  # a part and what is computed from it stay within the cache
CHUNK_BYTES_ELSEWHERE = 512 * 2**20


class BatchAugment(nn.Module):
    """Random views of images, with the distributions of torchvision's transforms.

    Crop, flip, color jitter (in random order), grayscale, blur, solarization and normalization
    run in this order. Every sample has its own parameters, drawn from a generator of this
    module: the same seed gives the same views whatever the global generators and the number of
    threads, and up to rounding whatever the device and ``chunk_bytes``.

    Args:
        size: Height and width of the views.
        mean: Mean of each channel, subtracted at the end.
        std: Standard deviation of each channel, divided by at the end.
        views: What is random in each view.
        interpolation: How crops are resized; always antialiased.
        memory_format: Memory format of the views.
        dtype: Number format of the views; they are computed in float32.
        chunk_bytes: Views are computed in parts of this size. None: 8 MiB on the CPU, 512 MiB
            elsewhere.

    Raises:
        ValueError: An argument is out of its range, or the kernel of the blur exceeds the views.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        views: Sequence[View] = (View(), View()),
        *,
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        memory_format: torch.memory_format = torch.contiguous_format,
        dtype: torch.dtype = torch.float32,
        chunk_bytes: int | None = None,
    ) -> None:
        super().__init__()
        at_least(1, size=size)
        _check_views(views, size)
        _check_statistics(mean, std)
        one_of(["bilinear", "bicubic"], interpolation=interpolation)
        if chunk_bytes is not None:
            at_least(1, chunk_bytes=chunk_bytes)
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ValueError(f"dtype={dtype!r}: must be a floating-point type of torch")
        if not isinstance(memory_format, torch.memory_format):
            raise ValueError(f"memory_format={memory_format!r}: must be a memory format of torch")
        self.size = size
        self.views = tuple(views)
        self.interpolation = interpolation
        self.memory_format = memory_format
        self.dtype = dtype
        self.chunk_bytes = chunk_bytes
        self.distribution = Distribution(views)
        self.generator = torch.Generator()
        self.register_buffer("mean", per_channel(mean), persistent=False)
        self.register_buffer("std", per_channel(std), persistent=False)

    def seed(self, seed: int) -> "BatchAugment":
        """Starts the stream of random parameters anew, for example from (seed, epoch)."""
        self.generator.manual_seed(seed)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Draws the views of a batch.

        Args:
            images: uint8, or float in [0, 1]. Shape: (b, c, h, w) with c = 1 or 3.

        Returns:
            Row i + v · b is view v of image i. Shape: (num_views · b, c, size, size).
        """
        _check_images(images, channels=len(self.mean))
        (b, c, h, w), v = images.shape, len(self.views)
        table = self.distribution.draw(b, h, w, self.generator)  # (v, b, 16)
        out = torch.empty(
            (v * b, c, self.size, self.size),
            dtype=self.dtype,
            device=images.device,
            memory_format=self.memory_format,
        )
        kernels = [view.kernel for view in self.views]
        with torch.autocast(images.device.type, enabled=False):
            for part in self._chunks(images):
                x, places = augment(
                    images[part],
                    table[:, part].flatten(0, 1),
                    self.size,
                    kernels,
                    bicubic=self.interpolation == "bicubic",
                )
                x = x.sub_(self.mean).div_(self.std).to(self.dtype)
                for target, place in zip(out.chunk(v), places.chunk(v), strict=True):
                    torch.index_select(x, 0, place, out=target[part])
        return out

    def _chunks(self, images: Tensor) -> Iterator[slice]:
        """Slices of the images whose views together take ``chunk_bytes``."""
        default = CHUNK_BYTES.get(images.device.type, CHUNK_BYTES_ELSEWHERE)
        b, c, h, w = images.shape
        bytes_per_image = 4 * len(self.views) * c * max(self.size**2, h * w)
        step = max(1, (self.chunk_bytes or default) // bytes_per_image)
        return (slice(start, min(start + step, b)) for start in range(0, b, step))


def _check_views(views: Sequence[View], size: int) -> None:
    given = list(views) if isinstance(views, Sequence) else []
    if not given or not all(isinstance(view, View) for view in given):
        raise ValueError(f"views={views!r}: must be at least one View")
    for view in views:
        if view.blur > 0 and max(view.kernel) // 2 >= size:
            raise ValueError(
                f"kernel_size={view.kernel_size}: must be at most {2 * size - 1} for views of "
                f"{size} pixels"
            )


def _check_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, Sequence) or len(values) not in (1, 3):
            raise ValueError(f"{name}={values!r}: must be one number a channel, 1 or 3")
    if len(mean) != len(std):
        raise ValueError(f"mean={mean!r}: must be as long as std={std!r}")
    for value in mean:
        between(-LARGEST, LARGEST, mean=value)
    for value in std:
        positive(std=value)


def _check_images(images: Tensor, channels: int) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images of shape {tuple(images.shape)}: give (b, c, h, w), c = 1 or 3")
    if images.shape[1] != channels:
        raise ValueError(f"images of {images.shape[1]} channels with a mean of {channels}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images of type {images.dtype}: give uint8, or float in [0, 1]")
