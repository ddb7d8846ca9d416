"""Where decoded images lie during a training: on the accelerator, in memory, or on the disk."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.datasets._memory import available_memory, free_device_memory, is_mapped
from dal_toolbox.datasets._resident import ResidentImages, ResidentLoader
from dal_toolbox.datasets.base import ImageArray, Images
from dal_toolbox.datasets.loader import ImageLoader
from dal_toolbox.datasets.mapped import MappedImages
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log, progress_bar

__all__ = [
    "RESIDENCIES",
    "DoesNotFit",
    "ResidentImages",
    "ResidentLoader",
    "choose_place",
    "resident",
    "resident_loader",
]

Place = Literal["device", "memory", "disk"]
RESIDENCIES = ("auto", *get_args(Place))
DEVICE_SHARE = 0.6  # of the free memory of an accelerator; the rest is for the training
MEMORY_SHARE = 0.5  # of the available memory
CHUNK_BYTES = 4 * 2**20  # loaded at once; small, for workers may have little shared memory


class DoesNotFit(UserError):
    """Images that are larger than the memory in which they were wanted."""


def resident_loader(
    loader: ImageLoader, residency: str = "auto", device: torch.device | str = "cpu"
) -> ImageLoader:
    """The same batches in the same order from :func:`resident` images.

    Raises:
        DoesNotFit: The images are larger than the memory that was asked for.
        CorruptImage: A file cannot be decoded.
    """
    images = resident(loader.images, residency, device, num_workers=loader.num_workers)
    if not isinstance(images, ResidentImages):
        return loader
    made = ResidentLoader(
        images,
        loader.batch_size,
        shuffle=loader.shuffle,
        drop_last=loader.drop_last,
        seed=loader.seed,
    )
    made.set_epoch(loader.epoch)
    return made


def resident(
    images: Images,
    residency: str = "auto",
    device: torch.device | str = "cpu",
    *,
    num_workers: int = 0,
) -> Images:
    """The images, loaded to where batches of them are made fastest.

    ``device``: decoded, on the accelerator. ``memory``: decoded, in memory; batches reach the
    accelerator through pinned memory while it computes. ``disk``: as they are, files or a
    memory-mapped pack. ``auto``: the first of them that fits into 60 % of the free memory of the
    accelerator or half of the available memory. Without an accelerator, ``device`` is ``memory``.
    Arrays that are in memory already are shared, not copied.

    Args:
        images: The images.
        residency: ``auto``, ``device``, ``memory`` or ``disk``.
        device: Where batches are wanted.
        num_workers: Processes that decode files.

    Raises:
        DoesNotFit: The images are larger than the memory that was asked for.
        CorruptImage: A file cannot be decoded.
    """
    device = _with_index(torch.device(device))
    place = choose_place(images, residency, device)
    if place == "disk" or _is_there(images, place, device):
        return images
    if place == "memory" and isinstance(images, ImageArray) and _in_memory(images):
        return _shared(images, device)
    target = device if place == "device" else torch.device("cpu")
    return ResidentImages(images, _load(images, target, num_workers), device)


def choose_place(images: Images, residency: str, device: torch.device | str) -> Place:
    """Where :func:`resident` puts images; logs it with the sizes.

    Raises:
        DoesNotFit: The images are larger than the memory that was asked for.
        UserError: There is no such residency.
    """
    if residency not in RESIDENCIES:
        raise UserError(f"residency={residency!r}: choose one of {', '.join(RESIDENCIES)}")
    device, size = torch.device(device), num_bytes(images)
    for place in _candidates(residency, device):
        if _is_there(images, place, device) or (place == "memory" and _in_memory(images)):
            log.info("residency=%s: %s of images, there already", place, _size(size))
            return place
        free, share = _room(place, device)
        if size <= (share if residency == "auto" else 1) * free:
            log.info("residency=%s: %s of images, %s free", place, _size(size), _size(free))
            return place
        if residency != "auto":
            way_out = "memory" if place == "device" else "disk"
            raise DoesNotFit(
                f"residency={residency}: the images take {_size(size)}, but {_size(free)} are free; "
                f"choose residency={way_out}, or auto"
            )
    log.info("residency=disk: %s of images stay where they are", _size(size))
    return "disk"


def num_bytes(images: Images) -> int:
    """Size of the decoded images."""
    return len(images) * int(np.prod(images.shape))


def _candidates(residency: str, device: torch.device) -> tuple[Place, ...]:
    separate = device.type == "cuda"  # memory of its own
    if residency == "disk":
        return ()
    if residency == "memory" or not separate:
        return ("memory",)
    return ("device",) if residency == "device" else ("device", "memory")


def _room(place: Place, device: torch.device) -> tuple[int, float]:
    """Free bytes, and the share of them that images may take unasked."""
    if place == "device":
        return free_device_memory(device), DEVICE_SHARE
    return available_memory(), MEMORY_SHARE


def _is_there(images: Images, place: Place, device: torch.device) -> bool:
    """Whether images are resident there already, for this device."""
    if not isinstance(images, ResidentImages) or images.device != _with_index(device):
        return False
    return images.on_device if place == "device" else not images.on_device or device.type == "cpu"


def _in_memory(images: Images) -> bool:
    if not isinstance(images, ImageArray) or isinstance(images, MappedImages):
        return False
    storage = images._storage
    return storage.device.type == "cpu" and not is_mapped(storage)


def _shared(images: ImageArray, device: torch.device) -> ResidentImages:
    """Resident images on the same memory."""
    if not isinstance(images._whole, ImageArray) or images._rows is None:
        return ResidentImages(images, images._storage, device)
    part = _shared(images._whole, device).subset(images._rows)
    part.source, part.targets, part.names = images, images.targets, images.names
    return part


def _load(images: Images, device: torch.device, num_workers: int) -> Tensor:
    """All images in one tensor of a device. Shape: (n, c, h, w)."""
    out = torch.empty((len(images), *images.shape), dtype=torch.uint8, device=device)
    chunk = max(1, CHUNK_BYTES // max(1, int(np.prod(images.shape))))
    loader = ImageLoader(images, batch_size=chunk, num_workers=num_workers)
    with progress_bar() as progress:
        task = progress.add_task("Loading images", total=len(images), note="")
        for batch, _, rows in loader:
            out[int(rows[0]) : int(rows[0]) + len(rows)].copy_(batch)
            progress.advance(task, len(batch))
    return out


def _with_index(device: torch.device) -> torch.device:
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
