"""Labels as they come, sparse or large numbers or words, mapped to classes from 0 on."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.features.features import Features


def to_classes(labels: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    """Targets (n,), int64, and the names of the classes, which are the different labels in order.

    Args:
        labels: Integers (-1: no label), whole floating-point numbers (NaN: no label) or strings
            (empty: no label); strings that are all integers count as such. Shape: (n,).

    Raises:
        ValueError: They are something else.

    >>> to_classes(np.array([2_000_000, -1, 10, 10]))
    (tensor([ 1, -1,  0,  0]), ('10', '2000000'))
    """
    ids, inverse = np.unique(labels, return_inverse=True)  # sorted
    names = [_name(label) for label in ids.tolist()]
    classes = in_order({name for name in names if name is not None})
    position = {name: i for i, name in enumerate(classes)}
    targets = torch.tensor([-1 if n is None else position[n] for n in names], dtype=torch.int64)
    return targets[torch.from_numpy(inverse.reshape(-1))], classes


def share_classes(parts: Sequence[Features]) -> list[Features]:
    """The same features, with the classes of all of them and targets to match."""
    classes = in_order({name for part in parts for name in part.classes})
    position = {name: i for i, name in enumerate(classes)}
    shared = []
    for part in parts:
        new = torch.tensor([*(position[name] for name in part.classes), -1])  # the last serves -1
        shared.append(replace(part, targets=new[part.targets], classes=classes))
    return shared


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes by value if all are integers, else by alphabet.

    >>> in_order(["10", "9"])
    ('9', '10')
    """
    names = list(names)
    return tuple(sorted(names, key=int if all(map(_is_integer, names)) else None))


def _name(label: object) -> str | None:
    """The class of a label; None where it says that there is none."""
    if isinstance(label, bytes):
        label = label.decode("utf-8", "surrogateescape")
    if isinstance(label, float):
        if label != label:
            return None
        if not label.is_integer():
            raise ValueError(f"label {label} is no whole number")
        label = int(label)
    if not isinstance(label, str | int):
        raise ValueError(f"labels are {type(label).__name__}; wanted integers or strings")
    text = str(int(label)) if isinstance(label, bool) else str(label)
    return None if text in ("", "-1") else text


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and str(int(text)) == text
