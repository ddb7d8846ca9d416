"""What a folder of images says by its form: names, classes and splits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dal_toolbox.datasets._decode import EXTENSIONS
from dal_toolbox.datasets._index import scan
from dal_toolbox.datasets._split_files import BadSplitFile, read_split_files
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.progress import log

SPLIT_OF_FOLDER = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "unlabeled": "unlabeled",
}


@dataclass(frozen=True)
class Layout:
    """Images of a folder.

    Args:
        names: Relative paths. Length: n.
        targets: Class indices, -1 = no label. Shape: (n,).
        classes: Class names, sorted.
        splits: Ascending rows of each split; always of ``"train"``.
    """

    names: list[str]
    targets: np.ndarray
    classes: tuple[str, ...]
    splits: dict[str, np.ndarray]

    def with_splits(self, **splits: np.ndarray) -> "Layout":
        """The same with other splits, and only what is in one of them."""
        splits = {**self.splits, **splits}
        used = np.zeros(len(self.names), dtype=bool)
        for rows in splits.values():
            used[rows] = True
        if used.all():
            return replace(self, splits=splits)
        new_row = np.cumsum(used) - 1
        return replace(
            self,
            names=[self.names[row] for row in np.flatnonzero(used).tolist()],
            targets=self.targets[used],
            splits={split: new_row[rows] for split, rows in splits.items()},
        )


def read_layout(root: Path, index_dir: Path | None = None) -> Layout:
    """Lists the images below ``root`` and tells classes and splits from their paths.

    Forms, in this order: split files ``train.txt``, ``val.txt``, ``test.txt`` in ``root``; split
    folders ``train/<class>``, ``val/<class>``, ``test/<class>``, ``unlabeled``; class folders.
    Images without any class folder have no label.

    Args:
        root: The folder.
        index_dir: Where :func:`~dal_toolbox.datasets._index.scan` keeps lists of large folders.

    Raises:
        DatasetNotFound: There is no such folder, or no image in it.
        BadSplitFile: A split file lists what is not there, or an image twice.
    """
    if not root.is_dir():
        raise DatasetNotFound(f"dataset.root={root} is no folder (looked for {root.absolute()})")
    images_in = scan(root, index_dir)
    if not images_in:
        raise DatasetNotFound(
            f"dataset.root={root} holds no images ({', '.join(sorted(EXTENSIONS))})"
        )
    depth = int(_has_split_folders(images_in))
    folders = _without_strays(images_in, depth)
    names = [name for folder in folders for name in images_in[folder]]
    counts = [len(images_in[folder]) for folder in folders]
    labels = [_label(folder, depth) for folder in folders]
    classes = sorted({label for label in labels if label is not None})
    targets = [-1 if label is None else classes.index(label) for label in labels]
    splits = read_split_files(root, names)
    if not splits and depth:
        splits = _split_folders(folders, counts)
    splits = splits or {"train": np.arange(len(names))}
    if not len(splits["train"]):
        raise BadSplitFile(f"{root}: no images are left for training beside {', '.join(splits)}")
    layout = Layout(names, np.repeat(targets, counts), tuple(classes), splits).with_splits()
    return _with_classes_that_occur(layout)


def _has_split_folders(folders: Iterable[str]) -> bool:
    tops = {folder.split("/", 1)[0] for folder in folders if folder}
    return "train" in tops and (tops == {"train"} or len(tops & SPLIT_OF_FOLDER.keys()) > 1)


def _without_strays(images_in: dict[str, list[str]], depth: int) -> list[str]:
    """The folders of the data: beside class folders, images outside of them are none."""
    groups = {folder: folder.split("/", 1)[0] if depth else "" for folder in images_in}
    labeled = {groups[folder] for folder in images_in if _label(folder, depth) is not None}
    data = []
    for folder, names in images_in.items():
        if _label(folder, depth) is None and groups[folder] in labeled:
            log.warning("%d images in no class folder are left out: %s …", len(names), names[0])
        else:
            data.append(folder)
    return data


def _label(folder: str, depth: int) -> str | None:
    """The class: the part at ``depth`` of the folder's path."""
    parts = folder.split("/") if folder else []
    if len(parts) <= depth or (depth and parts[0] == "unlabeled"):
        return None
    return parts[depth]


def _split_folders(folders: Sequence[str], counts: Sequence[int]) -> dict[str, np.ndarray]:
    split_of = [SPLIT_OF_FOLDER.get(folder.split("/", 1)[0], "") for folder in folders]
    split_of_row = np.repeat(split_of, counts)
    return {split: np.flatnonzero(split_of_row == split) for split in sorted(set(split_of) - {""})}


def _with_classes_that_occur(layout: Layout) -> Layout:
    occur = np.setdiff1d(layout.targets, -1)
    targets = np.where(layout.targets < 0, -1, np.searchsorted(occur, layout.targets))
    return replace(layout, targets=targets, classes=tuple(layout.classes[row] for row in occur))
