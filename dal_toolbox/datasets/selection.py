"""Parts of a dataset: some of its classes, some images of each class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from dal_toolbox.datasets.base import DatasetBundle, Images
from dal_toolbox.datasets.summary import log_summary
from dal_toolbox.errors import UserError


class BadSelection(UserError, ValueError):
    """Classes that a dataset does not have, or more images than there are."""


def select_classes(bundle: DatasetBundle, classes: Sequence[str | int]) -> DatasetBundle:
    """The images of some classes; they become the classes 0, 1, … in the order given.

    The ``unlabeled`` split stays whole.

    Args:
        bundle: The dataset.
        classes: Names or indices of classes. A name wins over an index of the same spelling.

    Raises:
        BadSelection: No list of classes, an unknown class, one given twice, or a split that has none
            of their images.
    """
    check_classes(classes)
    chosen = [_index(name, bundle.classes) for name in classes]
    if len(set(chosen)) < len(chosen) or not chosen:
        raise BadSelection(f"classes={list(classes)}: give different classes, at least one")
    new_target = np.full(bundle.num_classes + 1, -1)
    new_target[chosen] = np.arange(len(chosen))  # the last one serves target -1
    part = replace(
        bundle,
        train=_relabel(bundle.train, new_target, "train"),
        val=None if bundle.val is None else _relabel(bundle.val, new_target, "val"),
        test=None if bundle.test is None else _relabel(bundle.test, new_target, "test"),
        classes=tuple(bundle.classes[row] for row in chosen),
    )
    log_summary(part)
    return part


def check_classes(classes: object) -> None:
    """Checks what can be checked without the dataset.

    Raises:
        BadSelection: ``classes`` is no list.
    """
    if isinstance(classes, str | Mapping) or not isinstance(classes, Iterable):
        raise BadSelection(f"classes={classes!r}: must be a list of names or indices: [cat,dog]")


def images_per_class(targets: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draws ``number`` items of each class; a larger number with an equal ``rng`` contains a smaller.

    Returns:
        Ascending indices. Shape: (number · C,).

    Raises:
        BadSelection: A class has fewer, none has a label, or ``number`` is below 1.

    >>> images_per_class(np.array([0, 0, 1, 1]), 1, np.random.default_rng(0)).shape
    (2,)
    """
    if number < 1:
        raise BadSelection(f"{number} images of each class: must be at least 1")
    order = rng.permutation(len(targets))
    chosen = []
    for target in np.unique(targets[targets >= 0]):
        members = order[targets[order] == target]
        if len(members) < number:
            raise BadSelection(
                f"{number} images of each class: class {target} has {len(members)} training images"
            )
        chosen.append(members[:number])
    if not chosen:
        raise BadSelection(f"{number} images of each class: no training image has a label")
    return np.sort(np.concatenate(chosen))


def _index(name: str | int, classes: Sequence[str]) -> int:
    if not classes:
        raise BadSelection(f"no class {name!r}: the images have no labels")
    if str(name) in classes:
        return classes.index(str(name))
    if _is_index(name, len(classes)):
        return int(name)
    near = get_close_matches(str(name), classes, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    shown = ", ".join(classes[:20]) + (" …" if len(classes) > 20 else "")
    raise BadSelection(
        f"no class '{name}'.{hint} Known: {shown}, or an index from 0 to {len(classes) - 1}"
    )


def _is_index(name: str | int, num_classes: int) -> bool:
    text = str(name)
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) < num_classes


def _relabel(images: Images, new_target: np.ndarray, split: str) -> Images:
    targets = new_target[images.targets]
    rows = np.flatnonzero(targets >= 0)
    if not len(rows):
        raise BadSelection(f"no {split} image is of one of these classes")
    part = images.subset(rows)
    part.targets = targets[rows]
    return part
