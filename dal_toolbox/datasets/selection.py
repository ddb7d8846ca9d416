"""Parts of a dataset: some of its classes, some images of each class."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from dal_toolbox.datasets.base import DatasetBundle, Images
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
        BadSelection: An unknown class, one given twice, or a split that has none of their images.
    """
    chosen = [_index(name, bundle.classes) for name in classes]
    if len(set(chosen)) < len(chosen) or not chosen:
        raise BadSelection(f"classes={list(classes)}: give different classes, at least one")
    new_target = np.full(bundle.num_classes + 1, -1)
    new_target[chosen] = np.arange(len(chosen))  # the last one serves target -1
    return replace(
        bundle,
        train=_relabel(bundle.train, new_target, "train"),
        val=None if bundle.val is None else _relabel(bundle.val, new_target, "val"),
        test=_relabel(bundle.test, new_target, "test"),
        classes=tuple(bundle.classes[row] for row in chosen),
    )


def images_per_class(targets: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draws ``number`` items of each class; a larger number with an equal ``rng`` contains a smaller.

    Returns:
        Ascending indices. Shape: (number · C,).

    Raises:
        BadSelection: A class has fewer.

    >>> images_per_class(np.array([0, 0, 1, 1]), 1, np.random.default_rng(0)).shape
    (2,)
    """
    order = rng.permutation(len(targets))
    chosen = []
    for target in np.unique(targets[targets >= 0]):
        members = order[targets[order] == target]
        if len(members) < number:
            raise BadSelection(
                f"{number} images of each class: class {target} has {len(members)} training images"
            )
        chosen.append(members[:number])
    return np.sort(np.concatenate(chosen))


def _index(name: str | int, classes: Sequence[str]) -> int:
    if str(name) in classes:
        return classes.index(str(name))
    if str(name).isdigit() and int(name) < len(classes):
        return int(name)
    near = get_close_matches(str(name), classes, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    shown = ", ".join(classes[:20]) + (" …" if len(classes) > 20 else "")
    raise BadSelection(
        f"no class '{name}'.{hint} Known: {shown}, or an index from 0 to {len(classes) - 1}"
    )


def _relabel(images: Images, new_target: np.ndarray, split: str) -> Images:
    targets = new_target[images.targets]
    rows = np.flatnonzero(targets >= 0)
    if not len(rows):
        raise BadSelection(f"no {split} image is of one of these classes")
    part = images.subset(rows)
    part.targets = targets[rows]
    return part
