"""What official datasets share: from images and splits to a bundle."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias, get_args

import numpy as np

from dal_toolbox.arguments import at_least, between, one_of
from dal_toolbox.datasets._layout import Layout
from dal_toolbox.datasets._splits import check_shares, split_off
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.base import DatasetBundle, DatasetNotFound, ImageArray
from dal_toolbox.datasets.files import ImageFiles, OnError
from dal_toolbox.datasets.opening import (
    PACK_BYTES,
    Pack,
    check_pack,
    open_images,
    pixel_statistics,
    split_images,
    stored_size,
)
from dal_toolbox.datasets.summary import log_summary

MAX_SIDE = 2**14  # pixels
Statistics: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Storage:
    """How image files are decoded and kept.

    Args:
        dataset_path: Packs lie in ``dataset_path/packed``.
        num_workers: Processes that decode for the pack.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        pack: Whether the images are decoded once into one memory-mapped array.
        pack_bytes: Largest array that ``pack="auto"`` makes.
        on_error: What happens with files that cannot be decoded.

    Raises:
        ValueError: One of them cannot be meant; the message begins with its name.
    """

    dataset_path: Path
    num_workers: int
    image_size: int
    max_size: int = 0
    pack: Pack = "auto"
    pack_bytes: int = PACK_BYTES
    on_error: OnError = "raise"

    def __post_init__(self) -> None:
        integer_from(1, MAX_SIDE, image_size=self.image_size)
        integer_from(0, MAX_SIDE, max_size=self.max_size)
        stored_size(self.image_size, self.max_size)
        check_pack(self.pack, self.pack_bytes)
        one_of(get_args(OnError), on_error=self.on_error)


def integer_from(low: int, high: int, /, **values: int) -> None:
    """Checks for integers from ``low`` to ``high``, both included."""
    at_least(low, **values)
    between(low, high, **values)


def check_drawing(split_seed: int, **shares: float) -> None:
    """Checks what images of a split are drawn with: a seed, and shares from 0 to below 1."""
    at_least(0, split_seed=split_seed)
    check_shares(**shares)


def file_bundle(
    name: str, root: Path, layout: Layout, storage: Storage, statistics: Statistics | None = None
) -> DatasetBundle:
    """The bundle of image files that lie below ``root``.

    Args:
        name: Name of the dataset.
        root: The names of ``layout`` are relative to it.
        layout: What there is; ``train`` and ``test`` are needed.
        storage: How the files are kept.
        statistics: Mean and standard deviation of each channel where they are known; else those
            of the packed training images, or of ImageNet where nothing is packed.

    Raises:
        DatasetNotFound: Nothing is listed for training or for the test.
    """
    for split in ("train", "test"):
        if not len(layout.splits.get(split, ())):
            raise DatasetNotFound(
                f"{name}: no images for {split} in {root}; put the official files there"
            )
    size = stored_size(storage.image_size, storage.max_size)
    path = storage.dataset_path
    files = ImageFiles(
        root, layout.names, layout.targets, size,
        on_error=storage.on_error, cache_dir=path / "index",
    )  # fmt: skip
    images = open_images(
        files, path, storage.num_workers, pack=storage.pack, pack_bytes=storage.pack_bytes
    )
    parts = split_images(images, files, layout.splits)
    mean, std = statistics or pixel_statistics(parts["train"], path)
    bundle = DatasetBundle(
        name=name,
        train=parts["train"],
        val=parts.get("val"),
        test=parts["test"],
        unlabeled=parts.get("unlabeled"),
        classes=layout.classes,
        image_size=storage.image_size,
        mean=mean,
        std=std,
    )
    log_summary(bundle)
    return bundle


def array_bundle(
    name: str,
    train: ImageArray,
    test: ImageArray,
    classes: tuple[str, ...],
    statistics: Statistics,
    val_size: float,
    split_seed: int,
    unlabeled: ImageArray | None = None,
) -> DatasetBundle:
    """The bundle of images in memory; validation images are taken from the training images."""
    stays, val = split_off(train.targets, val_size, split_seed, "val")
    bundle = DatasetBundle(
        name=name,
        train=train.subset(stays) if len(val) else train,
        val=train.subset(val) if len(val) else None,
        test=test,
        unlabeled=unlabeled,
        classes=classes,
        image_size=train.shape[-1],
        mean=statistics[0],
        std=statistics[1],
    )
    log_summary(bundle)
    return bundle


def with_val(layout: Layout, val_size: float, split_seed: int) -> Layout:
    """Takes validation images from the training images, stratified by class."""
    if val_size == 0:
        return layout
    train = layout.splits["train"]
    stays, goes = split_off(layout.targets[train], val_size, split_seed, "val")
    return layout.with_splits(train=train[stays], val=train[goes])


def joined(parts: dict[str, tuple[list[str], np.ndarray]], classes: tuple[str, ...]) -> Layout:
    """A layout of splits that are listed one by one.

    Args:
        parts: Names and class indices of each split.
        classes: Class names.

    Raises:
        BadArchive: A file is listed twice, or lies outside of the folder.
    """
    names = [name for listed, _ in parts.values() for name in listed]
    _check_names(names)
    targets = np.concatenate([targets for _, targets in parts.values()]).astype(np.int64)
    stops = np.cumsum([len(listed) for listed, _ in parts.values()])
    rows = np.split(np.arange(len(names)), stops[:-1])
    return Layout(names, targets, classes, dict(zip(parts, rows, strict=True)))


def _check_names(names: list[str]) -> None:
    """An image in two splits would be trained on and tested with."""
    outside = next(
        (name for name in names if ".." in name and ".." in PurePosixPath(name).parts), ""
    )
    if outside:
        raise BadArchive(
            f"a list names {outside!r}, outside of its folder; put the official one there"
        )
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise BadArchive(f"{twice!r} is listed twice; put the official lists there")
