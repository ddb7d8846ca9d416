"""Features of a whole dataset: training and test split, and the classes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.datasets.base import Images
from dal_toolbox.encoders import Encoder, create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features.classes import share_classes
from dal_toolbox.features.features import Features
from dal_toolbox.features.load import encoder_features, raw_features
from dal_toolbox.features.precomputed import find_features, read_features
from dal_toolbox.features.spec import encoder_digest
from dal_toolbox.features.store import FeatureStore
from dal_toolbox.progress import log

SOURCES = ("encoder", "untrained", "raw")


@dataclass(frozen=True, eq=False)
class DatasetFeatures:
    """What active learning and linear evaluation need of a dataset.

    Args:
        name: What it is called in reports.
        train: Features to learn from.
        test: Features for the final evaluation, if there are any.
        classes: Class names; target i is ``classes[i]``.
        facts: What a run stands on, by name: ``training data``, ``test data``, ``encoder``. Each is
            a short description that ends in a digest of the content.
        notes: What a reader of results must know, such as labels that chose the encoder.
    """

    name: str
    train: Features
    test: Features | None
    classes: tuple[str, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def dataset_features(
    source: str,
    make_bundle: Callable[[], DatasetBundle],
    *,
    store: FeatureStore,
    make_encoder: Callable[[DatasetBundle], tuple[Encoder, Mapping[str, Any]]] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    **extraction: Any,
) -> DatasetFeatures:
    """Features of train and test, from where ``source`` says.

    Args:
        source: ``encoder``: those of the encoder, through the store; ``untrained``: of the
            same architecture with new weights (drawn from torch's global generator); ``raw``: the
            pixels; else a folder or a file of features computed elsewhere, see
            :func:`read_features`, for which no image is needed and no dataset built.
        make_bundle: Builds the dataset.
        store: Where features and neighbor graphs are kept.
        make_encoder: Gives the encoder for the dataset, and its facts, ``mean`` and ``std``; needed
            for ``encoder`` and ``untrained``.
        on_error: What happens to rows of files that hold NaN or infinity: ``raise`` or ``skip``.
        extraction: Options of :func:`encoder_features`, such as ``batch_size`` and ``dtype``.

    Raises:
        UserError: ``source`` is none of these.
    """
    check_source(source)
    if source not in SOURCES:
        return _of_files(Path(source), store, on_error)
    bundle = make_bundle()
    if source == "raw":
        return _of_bundle(bundle, lambda images, split: raw_features(images))
    if make_encoder is None:
        raise ValueError(f"source={source}: needs make_encoder")
    encoder, facts = make_encoder(bundle)
    if source == "untrained":
        recipe: Any = {k: v for k, v in encoder.recipe.items() if k != "pretrained"}
        encoder = create_encoder(**recipe).eval()
    digest, size = encoder_digest(encoder), encoder.recipe["image_size"]
    options: Any = {"mean": facts["mean"], "std": facts["std"], "image_size": size, **extraction}
    data = _of_bundle(
        bundle,
        lambda images, split: encoder_features(
            store, encoder, images, split, digest=digest, **options
        ),
        encoder=f"{encoder.recipe['name']} ({digest[:16]})",
    )
    used = facts.get("labels_used") if source == "encoder" else None
    return replace(data, notes=(f"encoder chosen by {used}",)) if used else data


def check_source(source: str) -> None:
    """Checks for a name, or for files that are there.

    Raises:
        UserError: ``source`` is neither.
    """
    if source in SOURCES or (isinstance(source, str) and _exists(source)):
        return
    raise UserError(
        f"source={source}: choose {', '.join(SOURCES)}, or a folder with train.npy and, where they "
        "are known, train_targets.npy, test.npy and test_targets.npy (or .npz, .pt), or one file"
    )


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except OSError:  # a name that is too long, for example
        return False


def _of_bundle(
    bundle: DatasetBundle, features_of: Callable[[Images, str], Features], **facts: str
) -> DatasetFeatures:
    train = features_of(bundle.train, "train")
    test = None if bundle.test is None else features_of(bundle.test, "test")
    data = {"training data": bundle.train, "test data": bundle.test}
    about = {
        what: f"{bundle.name}, {len(images)} images ({_identity(images, bundle.classes)[:16]})"
        for what, images in data.items()
        if images is not None
    }
    return DatasetFeatures(bundle.name, train, test, bundle.classes, about | facts)


def _identity(images: Images, classes: Sequence[str]) -> str:
    """Hex digest of names, content and class names; class numbers and other splits do not count."""
    of_items = [classes[t] if 0 <= t < len(classes) else str(t) for t in images.targets.tolist()]
    text = "\0".join([images.content_fingerprint, *of_items])
    return sha256(os.fsencode(text)).hexdigest()


def _of_files(
    path: Path, store: FeatureStore, on_error: Literal["raise", "skip"]
) -> DatasetFeatures:
    splits = ["train"]
    if path.is_dir() and find_features(path, "test") is not None:
        splits.append("test")
    parts = [read_features(path, split, store.root, on_error=on_error) for split in splits]
    parts = share_classes(parts)
    lengths = [part.values.shape[1] for part in parts]
    if lengths[0] != lengths[-1]:
        raise UserError(f"features in {path}: train has length {lengths[0]}, test {lengths[-1]}")
    for split, part in zip(splits, parts, strict=True):
        _say_what_was_found(path, split, part)
    train, test = parts[0], parts[1] if len(parts) > 1 else None
    if test is not None:
        _warn_of_classes_without_training(train, test)
    about = {
        what: f"{path.name}, {len(part)} rows of length {lengths[0]} ({part.key[:16]})"
        for what, part in zip(("training data", "test data"), parts, strict=False)
    }
    name = path.resolve().name if path.is_dir() else path.stem
    return DatasetFeatures(name, train, test, train.classes, about)


def _say_what_was_found(path: Path, split: str, part: Features) -> None:
    labeled = int((part.targets >= 0).sum())
    rows, length = part.values.shape
    log.info(
        "features of %s in %s: %d rows of length %d, %d labels of %d classes",
        split, path, rows, length, labeled, len(part.targets[part.targets >= 0].unique()),
    )  # fmt: skip


def _warn_of_classes_without_training(train: Features, test: Features) -> None:
    known = set(train.targets.tolist()) - {-1}
    missing = [train.classes[i] for i in sorted(set(test.targets.tolist()) - known - {-1})]
    if known and missing:
        log.warning(
            "%d of %d classes are in the test features only and cannot be learned: %s",
            len(missing), len(train.classes), ", ".join(map(repr, missing[:5])),
        )  # fmt: skip
