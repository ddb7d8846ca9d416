"""UTKFace (Zhang et al., 2017, https://susanqq.github.io/UTKFace)."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from dal_toolbox.arguments import inside, one_of
from dal_toolbox.datasets._bundles import Storage, check_drawing, file_bundle
from dal_toolbox.datasets._layout import Layout
from dal_toolbox.datasets._splits import BadShare, split_off
from dal_toolbox.datasets._utkface_files import find_faces
from dal_toolbox.datasets.base import DATASETS, DatasetBundle
from dal_toolbox.datasets.files import OnError
from dal_toolbox.datasets.opening import PACK_BYTES, Pack
from dal_toolbox.errors import UserError

NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<race>[0-4])_\d+.*")
OLDEST = 116
GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "Others")


class BadAgeGroups(UserError, ValueError):
    """Bounds of age groups that are no ascending ages."""


@DATASETS.register("UTKFace")
def utkface(
    dataset_path: Path,
    num_workers: int,
    *,
    target: Literal["age_group", "gender", "race"] = "age_group",
    age_groups: tuple[int, ...] = (0, 10, 20, 30, 40, 50, 60),
    image_size: int = 224,
    max_size: int = 0,
    val_size: float = 0.15,
    test_size: float = 0.15,
    split_seed: int = 0,
    pack: Pack = "auto",
    pack_bytes: int = PACK_BYTES,
    on_error: OnError = "raise",
) -> DatasetBundle:
    """Some 23,700 faces, of people from 0 to 116 years old, with age, gender and race in the names.

    There is no official split: test and validation are drawn, stratified by class. A face that
    lies there several times, in another folder or another crop, is taken once.

    Args:
        dataset_path: Holds the images anywhere below the folder ``UTKFace`` (or ``crop_part1``
            and the like), or an archive of them.
        num_workers: Processes that decode.
        target: What is to be predicted.
        age_groups: Youngest age of each group, ascending from 0; the last group is open.
        image_size: Height and width of what the network gets.
        max_size: Height and width of what is stored; 0: ``image_size``.
        val_size: Share of all images for validation.
        test_size: Share of all images for the test.
        split_seed: Chooses what is drawn.
        pack: Decode once into one memory-mapped array: ``auto`` does so up to ``pack_bytes``.
        pack_bytes: Largest array that ``auto`` makes.
        on_error: Whether a file that cannot be decoded ends the run or is left out.

    Raises:
        DatasetNotFound: There is no image with a valid name.
        BadAgeGroups: The bounds are no ascending ages from 0.
        BadShare: A split would be empty.
    """
    storage = Storage(dataset_path, num_workers, image_size, max_size, pack, pack_bytes, on_error)
    classes_of = {"age_group": _group_names(age_groups), "gender": GENDERS, "race": RACES}
    one_of(classes_of, target=target)
    check_drawing(split_seed, val_size=val_size, test_size=test_size)
    inside(0, 1, test_size=test_size)
    if val_size + test_size >= 1:
        raise BadShare(f"val_size={val_size}: leaves nothing beside test_size={test_size}")
    root, names = find_faces(dataset_path, is_valid)
    targets = _targets(names, target, age_groups)
    layout = Layout(
        names, targets, classes_of[target], _splits(targets, val_size, test_size, split_seed)
    )
    return file_bundle("UTKFace", root, layout, storage)


def ages(names: Sequence[str]) -> np.ndarray:
    """Ages in years, read from the names of a split. Shape: (n,), int64.

    >>> ages(["UTKFace/26_1_2_20170116174525125.jpg.chip.jpg"])
    array([26])
    """
    return _field(names, "age")


def is_valid(name: str) -> bool:
    """Whether a file name tells age, gender and race."""
    match = NAME.fullmatch(name.rpartition("/")[2])
    return match is not None and int(match["age"]) <= OLDEST


def _targets(names: Sequence[str], target: str, age_groups: Sequence[int]) -> np.ndarray:
    if target == "age_group":
        return np.searchsorted(np.array(age_groups), ages(names), side="right") - 1
    return _field(names, target)


def _field(names: Sequence[str], field: str) -> np.ndarray:
    matches = (NAME.fullmatch(name.rpartition("/")[2]) for name in names)
    return np.array([int(match[field]) for match in matches if match], dtype=np.int64)


def _group_names(age_groups: Sequence[int]) -> tuple[str, ...]:
    """Such as ``0-9``, ``10-19``, ``20+``."""
    bounds = list(age_groups) if isinstance(age_groups, list | tuple) else []
    are_ages = all(type(bound) is int and bound <= OLDEST for bound in bounds)
    if not are_ages or bounds != sorted({0, *bounds}):
        raise BadAgeGroups(
            f"age_groups={age_groups!r}: must be the youngest age of each group, ascending "
            f"from 0 to at most {OLDEST}, such as [0,18,65]"
        )
    closed = [f"{low}-{high - 1}" for low, high in pairwise(bounds)]
    return (*closed, f"{bounds[-1]}+")


def _splits(
    targets: np.ndarray, val_size: float, test_size: float, split_seed: int
) -> dict[str, np.ndarray]:
    rest, test = split_off(targets, test_size, split_seed, "test")
    train, val = split_off(targets[rest], val_size, split_seed, "val", of=len(targets))
    splits = {"train": rest[train], "val": rest[val], "test": test}
    return {split: rows for split, rows in splits.items() if len(rows)}
