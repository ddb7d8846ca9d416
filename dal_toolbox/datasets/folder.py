"""A folder of images as a dataset."""

from os import PathLike
from pathlib import Path
from typing import get_args

import numpy as np

from dal_toolbox.arguments import at_least, between, one_of
from dal_toolbox.datasets._decode import MAX_PIXELS, CorruptImage, decode, shorter_side
from dal_toolbox.datasets._layout import Layout, read_layout
from dal_toolbox.datasets._splits import (
    BadShare,
    check_shares,
    order_by_name,
    split_off,
    stratified_choice,
)
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, DatasetNotFound
from dal_toolbox.datasets.files import ImageFiles, OnError
from dal_toolbox.datasets.names import as_text
from dal_toolbox.datasets.opening import (
    PACK_BYTES,
    Pack,
    open_images,
    pixel_statistics,
    split_images,
    stored_size,
)
from dal_toolbox.datasets.summary import log_summary
from dal_toolbox.progress import log

MAX_SIDE = 2**14
AUTO_SIZE_SAMPLE = 32  # files whose size is looked at


@DATASETS.register("folder")
def folder(
    dataset_path: Path,
    num_workers: int,
    *,
    root: str | None = None,
    image_size: int = 0,
    val_size: float = 0.0,
    test_size: float = 0.2,
    split_seed: int = 0,
    train_size: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
    max_size: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> DatasetBundle:
    """Your own images: ``root/<class>/**/*.jpg``, or png, webp, tiff and others.

    Splits are taken from ``train.txt``, ``val.txt``, ``test.txt`` and ``unlabeled.txt`` in ``root``
    (paths relative to it), else from folders ``root/train/<class>`` and so on, else drawn, stratified
    by class. Other usual names, such as ``Training`` and ``valid``, are understood; what may be
    meant in two ways is refused. Images in no class folder at all, or in ``root/unlabeled``, have no
    label. No test images are drawn where the training images have no labels.

    What is drawn follows from the names of the images: where some are added or removed, nearly all
    others stay in their split.

    Mean and standard deviation are computed from up to 10,000 training images when they are
    packed, and stored with the pack; else they are those of ImageNet.

    Args:
        dataset_path: Packs lie in ``dataset_path/packed``.
        num_workers: Processes that decode for the pack.
        root: The folder.
        image_size: Height and width that networks get; 0: the shorter side of the images if that is
            the same for all (of 32 looked at) and at most 256, else 224.
        val_size: Share for validation where no such split is given: of all images, or of the
            training images where a test split is given.
        test_size: Share of the images for the test where no such split is given and there are labels;
            0: no test split.
        split_seed: Chooses what is drawn.
        train_size: Number of training images to keep, stratified by class; 0 keeps all.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded is refused, or left out, named in a warning
            and listed in ``skipped`` of the result. Splits are drawn before files are left out.
        max_size: Height and width to store images at, so that augmentation crops from more than
            ``image_size``; 0 stores that size. Clean images are then cut and resized by
            :class:`~dal_toolbox.augment.EvalTransform`.
        max_pixels: Largest image that is decoded, as height times width; a small file can say that
            it is huge.

    Raises:
        DatasetNotFound: There is no folder, or no image in it.
        UnclearFolder: Split folders cannot be told from class folders.
        BadSplitFile: A split file does not fit the folder.
        BadShare: A split would be empty.
        BadSize: ``max_size`` is smaller than what the network gets.
        CorruptImage: A file cannot be decoded, and is not to be skipped.
        NothingReadable: No file of a split can be decoded.
    """
    path = _root(root)
    check_shares(val_size=val_size, test_size=test_size)
    at_least(0, split_seed=split_seed, train_size=train_size, pack_bytes=pack_bytes)
    at_least(1, max_pixels=max_pixels)
    one_of(get_args(Pack), pack=pack)
    one_of(get_args(OnError), on_error=on_error)
    _check_sizes(image_size, max_size)
    layout = read_layout(path, dataset_path / "index")
    layout = _with_drawn_splits(layout, val_size, test_size, split_seed)
    layout = _with_train_size(layout, train_size, split_seed)
    size = image_size or _auto_size(path, layout, on_error, max_pixels)
    files = ImageFiles(
        path, layout.names, layout.targets, stored_size(size, max_size),
        on_error=on_error, max_pixels=max_pixels, cache_dir=dataset_path / "index",
    )  # fmt: skip
    images = open_images(files, dataset_path, num_workers, pack=pack, pack_bytes=pack_bytes)
    parts = split_images(images, files, layout.splits)
    mean, std = pixel_statistics(parts["train"], dataset_path)
    bundle = DatasetBundle(
        name=as_text(path.resolve().name),
        train=parts["train"],
        val=parts.get("val"),
        test=parts.get("test"),
        unlabeled=parts.get("unlabeled"),
        classes=layout.classes,
        image_size=size,
        mean=mean,
        std=std,
    )
    log_summary(bundle, layout.left_out)
    return bundle


def _root(root: str | None) -> Path:
    """The folder; never the current one unasked: an unset variable of a shell is an empty text."""
    if root is None or not str(root).strip():
        raise DatasetNotFound(
            f"root={root!r}: give a folder of images, such as one with a folder for each class"
        )
    if not isinstance(root, str | PathLike):
        raise ValueError(f"root={root!r}: must be the path of a folder")
    try:
        return Path(root).expanduser()
    except RuntimeError:  # ~ of nobody
        return Path(root)


def _check_sizes(image_size: int, max_size: int) -> None:
    """Checks what can be said about sizes before any image is looked at.

    Raises:
        ValueError: A size is no integer, negative, or larger than 16,384.
        BadSize: ``max_size`` is smaller than ``image_size``.
    """
    at_least(0, image_size=image_size, max_size=max_size)
    between(0, MAX_SIDE, image_size=image_size, max_size=max_size)
    stored_size(image_size, max_size)


def _with_drawn_splits(
    layout: Layout, val_size: float, test_size: float, split_seed: int
) -> Layout:
    """Draws from the training images what the folder does not give."""
    splits = dict(layout.splits)
    total = len(splits["train"])
    has_labels = bool(np.any(layout.targets[splits["train"]] >= 0))
    if "test" not in splits and not has_labels:
        log.info("no test split: the images have no labels")
    for name, share in (("test", test_size if has_labels else 0), ("val", val_size)):
        if name in splits or share == 0:
            continue
        train = splits["train"]
        names = [layout.names[row] for row in train.tolist()]
        stays, goes = split_off(layout.targets[train], share, split_seed, name, total, names)
        splits |= {"train": train[stays], name: train[goes]}
    return layout.with_splits(**splits)


def _with_train_size(layout: Layout, train_size: int, split_seed: int) -> Layout:
    """Keeps ``train_size`` of the training images and forgets the others."""
    if train_size == 0:
        return layout
    train = layout.splits["train"]
    if train_size > len(train):
        raise BadShare(f"train_size={train_size}: there are {len(train)} training images; 0: all")
    names = [layout.names[row] for row in train.tolist()]
    order = order_by_name(names, split_seed, "train_size")
    keeps = stratified_choice(layout.targets[train], train_size, order)
    return layout.with_splits(train=train[keeps])


def _auto_size(root: Path, layout: Layout, on_error: OnError, max_pixels: int) -> int:
    rows = np.linspace(0, len(layout.names) - 1, AUTO_SIZE_SAMPLE).astype(np.int64)
    paths = [root / layout.names[row] for row in np.unique(rows)]
    sides = {_side(path, on_error, max_pixels) for path in paths} - {0}
    side = sides.pop() if len(sides) == 1 else 224
    return side if side <= 256 else 224


def _side(path: Path, on_error: OnError, max_pixels: int) -> int:
    """Length of the shorter side; 0 for a file that will be skipped."""
    if on_error == "raise":
        return shorter_side(path, max_pixels)
    try:
        decode(path, 1, max_pixels)  # the head alone may be sound
        return shorter_side(path, max_pixels)
    except CorruptImage:
        return 0
