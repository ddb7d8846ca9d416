"""Features that were computed elsewhere, read from files."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.arguments import one_of
from dal_toolbox.errors import UserError
from dal_toolbox.features.classes import to_classes
from dal_toolbox.features.features import Features
from dal_toolbox.features.finite import rows_not_finite
from dal_toolbox.io import block_digests, read_json, read_text
from dal_toolbox.progress import log

SUFFIXES = (".npy", ".npz", ".pt", ".pth")
FEATURES = ("features", "values", "embeddings", "x")  # names of the array in .npz and .pt
TARGETS = ("targets", "labels", "y")
OBJECTS = "it holds objects other than arrays and tensors, which are not loaded for safety"


class BadFeatureFile(UserError, ValueError):
    """A file that holds no features of the form that is read."""


def read_features(
    path: Path,
    split: str = "train",
    cache_dir: Path | None = None,
    *,
    on_error: Literal["raise", "skip"] = "raise",
) -> Features:
    """Features that were computed elsewhere: of one split in a folder, or of one file.

    In a folder the first that is there: ``<split>.npy`` (n, d), memory-mapped; ``<split>.npz`` with
    an array ``features``; ``<split>.pt`` or ``.pth``, a tensor, or a dict of tensors of these names.
    Numbers of any real type are taken; float16 and float32 stay what they are, others become float32.

    Labels are optional: an array ``targets`` in the same file, ``<split>_targets.npy``, or
    ``<split>_targets.txt``, one a line; see :func:`~dal_toolbox.features.classes.to_classes`. So are
    names: ``<split>_names.txt``, one a line, or ``<split>_names.json``, a list.

    Args:
        path: The folder, or a file; the files beside it are then named after it.
        split: ``train`` or ``test``.
        cache_dir: Where the neighbor graph is kept, in a folder for these features.
        on_error: What happens to rows with NaN or infinity: ``raise``, or ``skip`` to leave them out.

    Raises:
        BadFeatureFile: No such file, or one with other content.
    """
    one_of(["raise", "skip"], on_error=on_error)
    file = find_features(path, split)
    if file is None:
        raise BadFeatureFile(
            f"no features of '{split}' in {path}: wanted {split}.npy (n, d), {split}.npz or "
            f"{split}.pt"
        )
    raw, labels = _read(file)
    values = _numbers(raw, file)
    targets, classes = _classes(labels, len(values), file)
    names = _names(file, split, len(values))
    digest = sha256(" ".join(block_digests(file)).encode()).hexdigest()
    features = Features(values, targets, names, digest, classes=classes)
    features = _finite(features, file, on_error)
    place = cache_dir / f"precomputed-{features.key[:16]}" if cache_dir else None
    return _with_key(features, place)


def find_features(path: Path, split: str) -> Path | None:
    """The file of a split in a folder, or ``path`` itself where it is a file."""
    if path.is_file():
        return path
    files = (path / f"{split}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _with_key(features: Features, place: Path | None) -> Features:
    """The key follows from all that was read, the place of the graph from the values alone."""
    facts = "\n".join([features.key, *features.classes, *features.names])
    digest = sha256(facts.encode(errors="surrogateescape") + features.targets.numpy().tobytes())
    return replace(features, key=digest.hexdigest(), directory=place)


def _read(file: Path) -> tuple[Any, Any]:
    """Values and labels as they are in the files; None where there are no labels."""
    if file.suffix not in SUFFIXES:
        raise BadFeatureFile(f"{file} is none of {', '.join(SUFFIXES)}")
    with _named(file):
        if file.suffix == ".npy":
            values, labels = np.load(file, mmap_mode="c", allow_pickle=False), None
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                values, labels = _of(arrays, FEATURES, file), _of(arrays, TARGETS)
        else:
            content = _load(file)
            arrays = content if isinstance(content, Mapping) else {"features": content}
            values, labels = _of(arrays, FEATURES, file), _of(arrays, TARGETS)
    return values, _labels_beside(file) if labels is None else labels


def _load(file: Path) -> Any:
    with warnings.catch_warnings():
        # Of other protocols of pickle, of TorchScript, of sparse tensors: what matters is refused.
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True)


def _of(arrays: Mapping[str, Any], names: tuple[str, ...], file: Path | None = None) -> Any:
    """The array of one of these names; None without one, or an error where it is needed."""
    for name in names:
        if name in arrays:
            return arrays[name]
    if file is None:
        return None
    raise BadFeatureFile(
        f"{file} holds {', '.join(map(str, arrays))}; wanted one of {', '.join(names)}"
    )


def _labels_beside(file: Path) -> Any:
    array, text = (file.with_name(f"{file.stem}_targets{suffix}") for suffix in (".npy", ".txt"))
    if array.is_file():
        with _named(array, "targets"):
            return np.load(array, allow_pickle=False)
    return _lines(text) if text.is_file() else None


def _numbers(raw: Any, file: Path) -> Tensor:
    with _named(file):
        values = torch.as_tensor(_known_to_torch(raw)).detach()
        strided = values.layout == torch.strided and not values.is_complex()
        if values.ndim != 2 or 0 in values.shape or not strided:
            raise BadFeatureFile(
                f"features in {file} are {values.dtype} of shape {tuple(values.shape)}; wanted real "
                "numbers of shape (n, d)"
            )
        kept = values.dtype in (torch.float16, torch.float32)
        return values if kept else values.to(torch.float32)


def _known_to_torch(raw: Any) -> Any:
    """Numbers of the processor's byte order and of at most 64 bits."""
    if not isinstance(raw, np.ndarray):
        return raw
    array = raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))
    return array.astype(np.float64) if array.dtype == np.longdouble else array


def _classes(labels: Any, number: int, file: Path) -> tuple[Tensor, tuple[str, ...]]:
    if labels is None:
        return torch.full((number,), -1), ()
    with _named(file, "targets"):
        array = np.asarray(labels.tolist() if isinstance(labels, Tensor) else labels)
        if array.shape != (number,):
            raise ValueError(f"shape {array.shape}; wanted ({number},)")
        return to_classes(array)


def _names(file: Path, split: str, number: int) -> list[str]:
    text, listed = (file.with_name(f"{file.stem}_names{suffix}") for suffix in (".txt", ".json"))
    source = listed if listed.is_file() else text
    if not source.is_file():
        return [f"{split}/{row}" for row in range(number)]
    with _named(source, "names"):
        names = read_json(source) if source == listed else _lines(source)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("wanted a list of strings")
        if len(names) != number:
            raise ValueError(
                f"{len(names)} names for {number} features (names with line breaks can stand in "
                f"{listed.name}, a list)"
            )
        return names


def _lines(file: Path) -> list[str]:
    with _named(file, "lines"):
        return read_text(file).removesuffix("\n").split("\n")


def _finite(features: Features, file: Path, on_error: str) -> Features:
    rows = rows_not_finite(features.values)
    if not len(rows):
        return features
    some = ", ".join(repr(features.names[row]) for row in rows[:3].tolist())
    what = (
        f"{len(rows)} of {len(features)} rows in {file} hold NaN, infinity or numbers too large "
        f"for float32: {some}{', …' * (len(rows) > 3)}"
    )
    if on_error == "raise":
        raise BadFeatureFile(f"{what}; on_error=skip leaves them out")
    if len(rows) == len(features):
        raise BadFeatureFile(what)
    log.warning("%s; they are left out", what)
    return features.subset(np.delete(np.arange(len(features)), rows))


@contextmanager
def _named(file: Path, what: str = "features") -> Iterator[None]:
    """Names the file in whatever broken bytes make its reader raise."""
    try:
        yield
    except BadFeatureFile:
        raise
    except Exception as error:
        raise BadFeatureFile(f"cannot read {what} from {file}: {_reason(file, error)}") from error


def _reason(file: Path, error: Exception) -> str:
    # Readers advise to load with pickle, which would run what a file holds.
    text = str(error)
    if "Object arrays" in text or "Python objects" in text:
        return OBJECTS
    if "allow_pickle" in text:
        return "it is no file of numpy.save"
    if isinstance(error, UnpicklingError):
        is_pickle = "operand" not in text or file.read_bytes()[:1] == b"\x80"
        return OBJECTS if is_pickle else "it is no file of torch.save"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return text.splitlines()[0] if text else type(error).__name__
