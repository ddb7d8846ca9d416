"""Features that were computed elsewhere, read from files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.errors import UserError
from dal_toolbox.features.features import Features
from dal_toolbox.io import load_array

FEATURES = ("features", "values", "embeddings", "x")  # names of the array in .npz and .pt
TARGETS = ("targets", "labels", "y")


class BadFeatureFile(UserError, ValueError):
    """A file that holds no features of the form that is read."""


def read_features(folder: Path, split: str, cache_dir: Path | None = None) -> Features:
    """Features of one split that were computed elsewhere.

    The first that is there: ``<split>.npy`` (n, d), memory-mapped, with ``<split>_targets.npy``
    (n,); ``<split>.npz`` with arrays ``features`` and ``targets``; ``<split>.pt`` or ``.pth``, a
    dict of tensors of these names. Targets are class indices from 0, or -1 where none is known.
    Names, for labeling, may stand in ``<split>_names.txt``, one a line.

    Args:
        folder: Where the files lie.
        split: ``train`` or ``test``.
        cache_dir: Where the neighbor graph is kept, in a folder for these features.

    Raises:
        BadFeatureFile: No such file, or one with other content.
    """
    file = _find(folder, split)
    values, targets = _check(file, *_read(file))
    names = _names(folder / f"{split}_names.txt", split, len(values))
    key = _key(file)
    directory = cache_dir / f"precomputed-{key[:16]}" if cache_dir else None
    return Features(values, targets, names, key, directory)


def _find(folder: Path, split: str) -> Path:
    for suffix in (".npy", ".npz", ".pt", ".pth"):
        if (folder / f"{split}{suffix}").is_file():
            return folder / f"{split}{suffix}"
    raise BadFeatureFile(
        f"no features of '{split}' in {folder}: wanted {split}.npy (n, d) with "
        f"{split}_targets.npy (n,), or {split}.npz or {split}.pt with features and targets"
    )


def _read(file: Path) -> tuple[Tensor, Tensor]:
    try:
        if file.suffix == ".npy":
            targets = file.with_name(f"{file.stem}_targets.npy")
            return load_array(file), torch.from_numpy(np.load(targets, allow_pickle=False))
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return _of(arrays, FEATURES, file), _of(arrays, TARGETS, file)
        arrays = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(arrays, Mapping):
            raise BadFeatureFile(f"{file} holds a {type(arrays).__name__}, not a dict of tensors")
        return _of(arrays, FEATURES, file), _of(arrays, TARGETS, file)
    except BadFeatureFile:
        raise
    except Exception as error:  # broken bytes make readers raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadFeatureFile(f"cannot read features from {file}: {reason}") from error


def _of(arrays: Mapping[str, Any], names: tuple[str, ...], file: Path) -> Tensor:
    for name in names:
        if name in arrays:
            return torch.as_tensor(arrays[name])
    raise BadFeatureFile(f"{file} holds {', '.join(arrays)}; wanted one of {', '.join(names)}")


def _check(file: Path, values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if values.ndim != 2 or not values.is_floating_point():
        raise BadFeatureFile(
            f"features in {file} are {values.dtype} of shape {tuple(values.shape)}; "
            "wanted floating-point numbers of shape (n, d)"
        )
    if targets.shape != values.shape[:1] or targets.is_floating_point() or targets.is_complex():
        raise BadFeatureFile(
            f"targets of {file} are {targets.dtype} of shape {tuple(targets.shape)}; "
            f"wanted integers of shape ({len(values)},)"
        )
    if len(targets) and targets.min() < -1:
        raise BadFeatureFile(f"targets of {file} go down to {targets.min()}; wanted -1 or more")
    dtype = torch.float32 if values.dtype == torch.float64 else values.dtype
    return values.to(dtype), targets.long()


def _names(file: Path, split: str, number: int) -> list[str]:
    if not file.is_file():
        return [f"{split}/{row}" for row in range(number)]
    names = file.read_text().splitlines()
    if len(names) != number:
        raise BadFeatureFile(f"{file} has {len(names)} lines for {number} features")
    return names


def _key(file: Path) -> str:
    status = file.stat()
    facts = f"{file.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()
