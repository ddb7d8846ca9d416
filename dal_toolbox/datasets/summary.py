"""What a dataset holds, in one line, and what about it can hardly be meant."""

from collections.abc import Iterator, Sequence

import numpy as np

from dal_toolbox.datasets._wording import counted, listed
from dal_toolbox.datasets.base import DatasetBundle, Images
from dal_toolbox.errors import printable
from dal_toolbox.progress import log


def log_summary(bundle: DatasetBundle, left_out: Sequence[str] = ()) -> None:
    """Logs the number of images, classes and splits, and warns of what can hardly be meant.

    Args:
        bundle: The dataset.
        left_out: What is not in it, and why.
    """
    reasons = [*left_out, *_unreadable(bundle)]
    rest = f"; left out: {', '.join(reasons)}" if reasons else ""
    log.info("%s: %s%s", printable(bundle.name), describe(bundle), rest)
    for oddity in oddities(bundle):
        log.warning("%s: %s", printable(bundle.name), oddity)


def describe(bundle: DatasetBundle) -> str:
    """Such as ``300 images of 10 classes (240 train, 60 test)``."""
    splits = _splits(bundle)
    total = sum(map(len, splits.values()))
    classes = counted(bundle.num_classes, "class", "classes")
    kind = f"of {classes}" if bundle.num_classes else "without labels"
    sizes = ", ".join(f"{len(images):,} {split}" for split, images in splits.items())
    return f"{counted(total, 'image')} {kind} ({sizes})"


def oddities(bundle: DatasetBundle) -> Iterator[str]:
    """What makes an evaluation worthless, or says that the folder was meant in another way."""
    counts = {split: _counts(images, bundle) for split, images in _splits(bundle).items()}
    total = sum(counts.values())
    if not np.any(total):
        return
    if bundle.num_classes == 1:
        yield f"all images are of one class, '{printable(bundle.classes[0])}'"
    if len(rows := np.flatnonzero(total == 0)):
        yield f"no image at all: {_named(bundle, rows)}"
    if len(rows := np.flatnonzero(total == 1)):
        yield f"one image only: {_named(bundle, rows)}"
    if np.any(counts["train"]):
        yield from _unlearnable(bundle, counts)


def _unlearnable(bundle: DatasetBundle, counts: dict[str, np.ndarray]) -> Iterator[str]:
    for split in counts.keys() & {"val", "test"}:
        count = counts[split]
        if len(rows := np.flatnonzero((counts["train"] == 0) & (count > 0))):
            missed, of = int(count[rows].sum()), int(count.sum())
            yield (
                f"in {split} but not in train: {_named(bundle, rows)}; {missed} of "
                f"{counted(of, 'image')} cannot be classified, accuracy is at most "
                f"{1 - missed / of:.1%}"
            )


def _splits(bundle: DatasetBundle) -> dict[str, Images]:
    splits = {
        "train": bundle.train,
        "val": bundle.val,
        "test": bundle.test,
        "unlabeled": bundle.unlabeled,
    }
    return {split: images for split, images in splits.items() if images is not None}


def _unreadable(bundle: DatasetBundle) -> list[str]:
    return [f"{len(bundle.skipped)} that cannot be decoded"] if bundle.skipped else []


def _counts(images: Images, bundle: DatasetBundle) -> np.ndarray:
    return np.bincount(images.targets[images.targets >= 0], minlength=bundle.num_classes)


def _named(bundle: DatasetBundle, rows: np.ndarray) -> str:
    names = listed(bundle.classes[row] for row in rows)
    return f"{counted(len(rows), 'class', 'classes')}, {names}"
