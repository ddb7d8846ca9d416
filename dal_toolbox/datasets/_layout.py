"""What a folder of images says by its form: names, classes and splits."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dal_toolbox.datasets._decode import EXTENSIONS
from dal_toolbox.datasets._form import Form, find_form, refuse_unclear
from dal_toolbox.datasets._index import Survey, survey
from dal_toolbox.datasets._wording import counted, listed
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.datasets.names import as_text
from dal_toolbox.datasets.split_files import BadSplitFile, find_split_files, read_split_files
from dal_toolbox.errors import printable
from dal_toolbox.progress import log

# Images that this project does not read.
FOREIGN = frozenset(
    ".arw .avif .cr2 .cr3 .dng .eps .heic .heif .ico .jp2 .jpe .jxl .nef .orf .psd .raf .rw2 .svg .tga".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Layout:
    """Images of a folder.

    Args:
        names: Relative paths. Length: n.
        targets: Class indices, -1 = no label. Shape: (n,).
        classes: Class names, sorted.
        splits: Ascending rows of each split; always of ``"train"``.
        left_out: What lies there and is in no split, and why.
    """

    names: list[str]
    targets: np.ndarray
    classes: tuple[str, ...]
    splits: dict[str, np.ndarray]
    left_out: tuple[str, ...] = ()

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

    Forms, in this order: split files ``train.txt``, ``val.txt``, ``test.txt``, ``unlabeled.txt`` in
    ``root``; split folders ``train/<class>``, ``val/<class>``, ``test/<class>``, ``unlabeled``;
    class folders. Images without any class folder, and those of ``unlabeled``, have no label.

    Args:
        root: The folder.
        index_dir: Where :func:`~dal_toolbox.datasets._index.survey` keeps lists of large folders.

    Raises:
        DatasetNotFound: There is no such folder, or no image in it.
        UnclearFolder: Split folders cannot be told from class folders.
        BadSplitFile: A split file lists what is not there, or an image twice.
    """
    _check_root(root)
    found = survey(root, index_dir)
    if not found.images:
        raise DatasetNotFound(f"root={root}: no images in it ({_wanted(found)})")
    photos = [*found.images, *_foreign(found)]
    form, files = find_form(photos), find_split_files(root)
    if not files:
        refuse_unclear(root, photos, form)
    strays = _strays(found.images, form, by_file=bool(files))
    folders = [folder for folder in found.images if folder not in strays]
    names = [name for folder in folders for name in found.images[folder]]
    unreadable = set() if files else _unreadable_classes(found, form)
    labels = [form.label_of(folder) for folder in folders]
    name_of = _class_names({label for label in labels if label is not None} | unreadable)
    classes = sorted(name_of.values())
    row_of: dict[str | None, int] = {None: -1}
    row_of |= {label: classes.index(name) for label, name in name_of.items()}
    counts = [len(found.images[folder]) for folder in folders]
    targets = np.repeat([row_of[label] for label in labels], counts)
    splits = read_split_files(files, names) if files else _splits(folders, counts, form)
    if not len(splits["train"]):
        raise BadSplitFile(f"{root}: no images are left for training beside {', '.join(splits)}")
    targets[splits.get("unlabeled", [])] = -1
    left_out = (*_left_out(found, strays, len(files)), *_unlisted(len(names), splits))
    layout = Layout(names, targets, tuple(classes), splits, left_out).with_splits()
    return _with_classes(layout, [name_of[label] for label in unreadable])


def _check_root(root: Path) -> None:
    try:
        if root.is_dir():
            return
        reason = "no folder" if root.exists() else "no such folder"
    except (OSError, ValueError) as error:  # a name that is too long, say
        reason = getattr(error, "strerror", None) or str(error)
    raise DatasetNotFound(f"root={root}: {reason} (looked for {root.absolute()})")


def _wanted(found: Survey) -> str:
    ends = sorted({end for others in found.others.values() for end in others if end in FOREIGN})
    readable = f"wanted {', '.join(sorted(EXTENSIONS))}"
    return f"{', '.join(ends)} cannot be read; {readable}" if ends else readable


def _strays(images_in: Mapping[str, list[str]], form: Form, *, by_file: bool) -> dict[str, str]:
    """Folders whose images are no data, and why; beside class folders, images outside are none."""
    splits = {folder: form.split_of(folder) for folder in images_in}
    labeled = {splits[folder] for folder in images_in if form.label_of(folder) is not None}
    strays = {}
    for folder, split in splits.items():
        if split is None and not by_file:
            strays[folder] = "beside the split folders"
        elif split != "unlabeled" and split in labeled and form.label_of(folder) is None:
            strays[folder] = "in no class folder"
    return strays


def _splits(folders: Sequence[str], counts: Sequence[int], form: Form) -> dict[str, np.ndarray]:
    split_of = [str(form.split_of(folder)) for folder in folders]
    split_of_row = np.repeat(split_of, counts)
    splits = {split: np.flatnonzero(split_of_row == split) for split in dict.fromkeys(split_of)}
    if not form.splits and set(splits) == {"unlabeled"}:
        return {"train": splits["unlabeled"]}
    return {"train": np.empty(0, np.int64), **splits}


def _unreadable_classes(found: Survey, form: Form) -> set[str]:
    """Classes none of whose files can be read: they stay classes, and are named in a warning."""
    if not any(form.label_of(folder) for folder in found.images):
        return set()
    filled = {form.class_folder(folder) for folder in (*found.images, *found.others)}
    empty = [folder for folder in found.folders if _is_class_folder(folder, form, filled)]
    if empty:
        log.warning("empty: %s, %s", counted(len(empty), "class folder"), listed(empty))
    readable = {form.class_folder(folder) for folder in found.images}
    return {
        label
        for folder in _foreign(found)
        if (label := form.label_of(folder)) is not None
        and form.split_of(folder) is not None
        and form.class_folder(folder) not in readable
    }


def _foreign(found: Survey) -> list[str]:
    """Folders with images that cannot be read."""
    return [folder for folder, ends in found.others.items() if not FOREIGN.isdisjoint(ends)]


def _class_names(labels: Collection[str]) -> dict[str, str]:
    """The class that each label names: text, where names of folders may be any bytes."""
    times = Counter(map(as_text, labels))
    return {
        label: as_text(label) if times[as_text(label)] == 1 else printable(label)
        for label in labels
    }


def _is_class_folder(folder: str, form: Form, filled: set[str]) -> bool:
    is_there = form.label_of(folder) is not None and form.class_folder(folder) == folder
    return is_there and folder not in filled


def _left_out(found: Survey, strays: Mapping[str, str], num_split_files: int) -> Iterator[str]:
    """What is not in the dataset, and why; images are named in a warning."""
    for reason in sorted(set(strays.values())):
        names = [n for folder, why in strays.items() if why == reason for n in found.images[folder]]
        count = f"{counted(len(names), 'image')} {reason}"
        log.warning("left out: %s, %s", count, listed(names))
        yield count
    counts: Counter[str] = Counter()
    for ends in found.others.values():
        counts.update(ends)
    foreign = {end: count for end, count in sorted(counts.items()) if end in FOREIGN}
    if foreign:
        number = counted(sum(foreign.values()), "image")
        count = f"{number} in formats that cannot be read ({', '.join(foreign)})"
        log.warning("left out: %s, in %s; convert to JPEG or PNG", count, listed(_foreign(found)))
        yield count
    if other := sum(counts.values()) - sum(foreign.values()) - num_split_files:
        yield counted(other, "other file")
    for reason in sorted(set(found.left_out.values())):
        paths = [path for path, why in found.left_out.items() if why == reason]
        yield f"{listed(paths, 3)} ({reason})"


def _unlisted(number: int, splits: Mapping[str, np.ndarray]) -> list[str]:
    missing = number - sum(len(rows) for rows in splits.values())
    return [f"{counted(missing, 'image')} in no split file"] if missing else []


def _with_classes(layout: Layout, kept: Collection[str]) -> Layout:
    """Only the classes that occur, and those to keep."""
    rows = [row for row, name in enumerate(layout.classes) if name in kept]
    occur = np.union1d(np.setdiff1d(layout.targets, -1), rows).astype(np.int64)
    targets = np.where(layout.targets < 0, -1, np.searchsorted(occur, layout.targets))
    return replace(layout, targets=targets, classes=tuple(layout.classes[row] for row in occur))
