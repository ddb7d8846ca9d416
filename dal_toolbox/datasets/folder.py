"""A folder of images as a dataset."""

from pathlib import Path

import numpy as np

from dal_toolbox.datasets._decode import CorruptImage, decode, shorter_side
from dal_toolbox.datasets._layout import Layout, read_layout
from dal_toolbox.datasets._splits import BadShare, split_off, stratified_choice
from dal_toolbox.datasets.base import DATASETS, DatasetBundle, DatasetNotFound
from dal_toolbox.datasets.files import ImageFiles, OnError
from dal_toolbox.datasets.opening import (
    PACK_BYTES,
    Pack,
    open_images,
    pixel_statistics,
    split_images,
    stored_size,
)
from dal_toolbox.progress import log
from dal_toolbox.seeding import generator

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
) -> DatasetBundle:
    """Your own images: ``root/<class>/**/*.jpg``, or png, webp, tiff and others.

    Splits are taken from ``train.txt``, ``val.txt`` and ``test.txt`` in ``root`` (paths relative
    to it), else from folders ``root/train/<class>`` and so on, else drawn, stratified by class.
    Images in no class folder at all, or in ``root/unlabeled`` beside ``root/train``, have no label.

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
        test_size: Share of the images for the test where no such split is given.
        split_seed: Chooses what is drawn.
        train_size: Number of training images to keep, stratified by class; 0 keeps all.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded is refused, or left out, named in a warning
            and listed in ``skipped`` of the result. Splits are drawn before files are left out.
        max_size: Height and width to store images at, so that augmentation crops from more than
            ``image_size``; 0 stores that size. Clean images are then cut and resized by
            :class:`~dal_toolbox.augment.EvalTransform`.

    Raises:
        DatasetNotFound: There is no folder, or no image in it.
        BadSplitFile: A split file does not fit the folder.
        BadShare: A split would be empty.
        BadSize: ``max_size`` is smaller than what the network gets.
        CorruptImage: A file cannot be decoded, and is not to be skipped.
        NothingReadable: No file of a split can be decoded.
    """
    if root is None:
        raise DatasetNotFound("dataset=folder needs dataset.root=<folder with a folder per class>")
    path = Path(root).expanduser()
    layout = read_layout(path, dataset_path / "index")
    layout = _with_drawn_splits(layout, val_size, test_size, split_seed)
    layout = _with_train_size(layout, train_size, split_seed)
    log.info(
        "%s: %s images, %d classes",
        path,
        ", ".join(f"{len(rows)} {split}" for split, rows in layout.splits.items()),
        len(layout.classes),
    )
    size = image_size or _auto_size(path, layout, on_error)
    stored = stored_size(size, max_size)
    files = ImageFiles(path, layout.names, layout.targets, stored, on_error=on_error)
    images = open_images(files, dataset_path, num_workers, pack=pack, pack_bytes=pack_bytes)
    parts = split_images(images, files, layout.splits)
    mean, std = pixel_statistics(parts["train"], dataset_path)
    return DatasetBundle(
        name=path.resolve().name,
        train=parts["train"],
        val=parts.get("val"),
        test=parts["test"],
        unlabeled=parts.get("unlabeled"),
        classes=layout.classes,
        image_size=size,
        mean=mean,
        std=std,
    )


def _with_drawn_splits(
    layout: Layout, val_size: float, test_size: float, split_seed: int
) -> Layout:
    """Draws from the training images what the folder does not give."""
    splits = dict(layout.splits)
    total = len(splits["train"])
    if "test" not in splits and test_size == 0:
        raise BadShare("dataset.test_size=0 leaves no test images; wanted more than 0")
    for name, share in (("test", test_size), ("val", val_size)):
        if name in splits or share == 0:
            continue
        train = splits["train"]
        stays, goes = split_off(layout.targets[train], share, split_seed, name, of=total)
        splits |= {"train": train[stays], name: train[goes]}
    return layout.with_splits(**splits)


def _with_train_size(layout: Layout, train_size: int, split_seed: int) -> Layout:
    """Keeps ``train_size`` of the training images and forgets the others."""
    if train_size == 0:
        return layout
    train = layout.splits["train"]
    if not 0 < train_size <= len(train):
        raise BadShare(
            f"dataset.train_size={train_size} of {len(train)} training images; "
            f"wanted 1 to {len(train)}, or 0 for all"
        )
    rng = generator(split_seed, "train_size")
    keeps = stratified_choice(layout.targets[train], train_size, rng)
    return layout.with_splits(train=train[keeps])


def _auto_size(root: Path, layout: Layout, on_error: OnError) -> int:
    rows = np.linspace(0, len(layout.names) - 1, AUTO_SIZE_SAMPLE).astype(np.int64)
    sides = {_side(root / layout.names[row], on_error) for row in np.unique(rows)} - {0}
    side = sides.pop() if len(sides) == 1 else 224
    return side if side <= 256 else 224


def _side(path: Path, on_error: OnError) -> int:
    """Length of the shorter side; 0 for a file that will be skipped."""
    if on_error == "raise":
        return shorter_side(path)
    try:
        decode(path, 1)  # the head alone may be sound
        return shorter_side(path)
    except CorruptImage:
        return 0
