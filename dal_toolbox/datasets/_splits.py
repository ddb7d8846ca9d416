"""Seeded, stratified choices: every class keeps its share."""

import os
from collections.abc import Sequence
from hashlib import blake2b
from numbers import Real

import numpy as np

from dal_toolbox.errors import UserError
from dal_toolbox.seeding import generator


class BadShare(UserError, ValueError):
    """A share of the data that leaves nothing on one side."""


def check_shares(**shares: float) -> None:
    """Checks for shares of the data.

    Raises:
        BadShare: One is no number from 0 to below 1.
    """
    for name, share in shares.items():
        is_number = isinstance(share, Real) and not isinstance(share, bool)
        if not (is_number and 0 <= share < 1):
            raise BadShare(f"{name}={share!r}: must be a share of the images, from 0 to below 1")


def split_off(
    targets: np.ndarray,
    share: float,
    split_seed: int,
    purpose: str,
    of: int | None = None,
    names: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Splits n items into those that stay and those that go, stratified by class.

    Args:
        targets: Class indices; -1 counts as a class. Shape: (n,).
        share: Share of the items to split off, in [0, 1).
        split_seed: The same seed and targets give the same split.
        purpose: Name of what is split off, such as ``"val"``; it has a stream of its own.
        of: How many items ``share`` refers to; n by default.
        names: Names of the items: the choice then depends on these instead of the positions,
            and nearly all items keep their side when some are added or removed. Length: n.

    Returns:
        Ascending indices that stay, and that go.

    Raises:
        BadShare: ``share`` is out of range, or rounds to none or all of the items.
    """
    name = f"{purpose}_size"
    check_shares(**{name: share})
    number = round(share * (of or len(targets)))
    if share > 0 and not 0 < number < len(targets):
        raise BadShare(
            f"{name}={share}: takes {number} of {len(targets)} images; "
            "must leave images on both sides"
        )
    if names is None:
        order = generator(split_seed, "split", purpose).permutation(len(targets))
    else:
        order = order_by_name(names, split_seed, purpose)
    goes = stratified_choice(targets, number, order)
    return np.setdiff1d(np.arange(len(targets)), goes), goes


def order_by_name(names: Sequence[str], split_seed: int, purpose: str) -> np.ndarray:
    """An order that looks random; two names keep theirs whatever other names there are. Shape: (n,)."""
    key = f"{split_seed} {purpose} ".encode()
    digests = (blake2b(key + os.fsencode(name), digest_size=8).digest() for name in names)
    ranks = np.frombuffer(b"".join(digests), dtype=">u8")
    return np.argsort(ranks, kind="stable")


def stratified_choice(targets: np.ndarray, number: int, order: np.ndarray) -> np.ndarray:
    """Chooses ``number`` items so that each class keeps its share, up to rounding.

    Classes get their share rounded down; what is missing goes to the largest remainders (ties:
    lowest class). Of each class the first items in ``order`` are taken.

    Args:
        targets: Class indices; -1 counts as a class. Shape: (n,).
        number: How many items are chosen.
        order: All positions. Shape: (n,).

    Returns:
        Ascending indices. Shape: (number,).

    >>> targets = np.array([0] * 8 + [1] * 4)
    >>> np.bincount(targets[stratified_choice(targets, 6, np.random.default_rng(0).permutation(12))])
    array([4, 2])
    """
    _, strata, counts = np.unique(targets, return_inverse=True, return_counts=True)
    quotas = counts * number / max(len(targets), 1)
    takes = np.floor(quotas).astype(np.int64)
    largest = np.argsort(takes - quotas, kind="stable")
    takes[largest[: number - takes.sum()]] += 1
    members = (order[strata[order] == stratum] for stratum in range(len(counts)))
    chosen = [rows[:take] for rows, take in zip(members, takes, strict=True)]
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *chosen]))
