"""Seeded, stratified choices: every class keeps its share."""

import numpy as np

from dal_toolbox.errors import UserError
from dal_toolbox.seeding import generator


class BadShare(UserError, ValueError):
    """A share of the data that leaves nothing on one side."""


def split_off(
    targets: np.ndarray, share: float, split_seed: int, purpose: str, of: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits n items into those that stay and those that go, stratified by class.

    Args:
        targets: Class indices; -1 counts as a class. Shape: (n,).
        share: Of the items that goes, in [0, 1).
        split_seed: The same seed and targets give the same split.
        purpose: Name of what is split off, such as ``"val"``; it has a stream of its own.
        of: How many items ``share`` refers to; n by default.

    Returns:
        Ascending indices that stay, and that go.

    Raises:
        BadShare: ``share`` is out of range, or rounds to none or all of the items.
    """
    if not 0 <= share < 1:
        raise BadShare(f"dataset.{purpose}_size={share}; wanted a share of the images in [0, 1)")
    number = round(share * (of or len(targets)))
    if share > 0 and not 0 < number < len(targets):
        raise BadShare(
            f"dataset.{purpose}_size={share} takes {number} of {len(targets)} images; "
            "wanted a share that leaves images on both sides"
        )
    goes = stratified_choice(targets, number, generator(split_seed, "split", purpose))
    return np.setdiff1d(np.arange(len(targets)), goes), goes


def stratified_choice(targets: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Chooses ``number`` items so that each class keeps its share, up to rounding.

    Classes get their share rounded down; what is missing goes to the largest remainders (ties:
    lowest class).

    Returns:
        Ascending indices. Shape: (number,).

    >>> targets = np.array([0] * 8 + [1] * 4)
    >>> np.bincount(targets[stratified_choice(targets, 6, np.random.default_rng(0))])
    array([4, 2])
    """
    _, strata, counts = np.unique(targets, return_inverse=True, return_counts=True)
    quotas = counts * number / max(len(targets), 1)
    takes = np.floor(quotas).astype(np.int64)
    largest = np.argsort(takes - quotas, kind="stable")
    takes[largest[: number - takes.sum()]] += 1
    order = rng.permutation(len(targets))
    members = (order[strata[order] == stratum] for stratum in range(len(counts)))
    chosen = [rows[:take] for rows, take in zip(members, takes, strict=True)]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *chosen]))
