"""Features of a whole dataset: training and test split, and the classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.encoders import Encoder, create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features.features import Features
from dal_toolbox.features.load import encoder_features, raw_features
from dal_toolbox.features.precomputed import read_features
from dal_toolbox.features.store import FeatureStore


@dataclass(frozen=True, eq=False)
class DatasetFeatures:
    """What active learning and linear evaluation need of a dataset.

    Args:
        name: What it is called in reports.
        train: Features to learn from.
        test: Features for the final evaluation.
        classes: Class names; target i is ``classes[i]``.
    """

    name: str
    train: Features
    test: Features
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def dataset_features(
    source: str,
    make_bundle: Callable[[], DatasetBundle],
    *,
    store: FeatureStore,
    make_encoder: Callable[[DatasetBundle], tuple[Encoder, Mapping[str, Any]]],
    **extraction: Any,
) -> DatasetFeatures:
    """Features of train and test, from where ``source`` says.

    Args:
        source: ``encoder``: those of the encoder, through the store; ``untrained``: of the
            same architecture with new weights (drawn from torch's global generator); ``raw``: the
            pixels; else a folder of features computed elsewhere, see :func:`read_features`, for which no
            image is needed and no dataset built.
        make_bundle: Builds the dataset.
        store: Where features and neighbor graphs are kept.
        make_encoder: Gives the encoder for the dataset, and its facts: ``mean`` and ``std``.
        extraction: Options of :func:`encoder_features`, such as ``batch_size`` and ``dtype``.

    Raises:
        UserError: ``source`` is none of these.
    """
    if source not in ("encoder", "untrained", "raw"):
        return _precomputed(Path(source), store)
    bundle = make_bundle()
    if bundle.test is None:
        raise UserError(
            f"{bundle.name} has no test split to evaluate on; give one, or labels to draw one from"
        )
    if source == "raw":
        train, test = raw_features(bundle.train), raw_features(bundle.test)
        return DatasetFeatures(bundle.name, train, test, bundle.classes)
    encoder, facts = make_encoder(bundle)
    if source == "untrained":
        recipe: Any = {k: v for k, v in encoder.recipe.items() if k != "pretrained"}
        encoder = create_encoder(**recipe).eval()
    size = encoder.recipe["image_size"]
    options: Any = {"mean": facts["mean"], "std": facts["std"], "image_size": size, **extraction}
    train = encoder_features(store, encoder, bundle.train, "train", **options)
    test = encoder_features(store, encoder, bundle.test, "test", **options)
    return DatasetFeatures(bundle.name, train, test, bundle.classes)


def _precomputed(folder: Path, store: FeatureStore) -> DatasetFeatures:
    if not folder.is_dir():
        raise UserError(
            f"features={folder}: choose encoder, untrained, raw, or a folder with train.npy and "
            "train_targets.npy, test.npy and test_targets.npy (or .npz, .pt)"
        )
    train, test = (read_features(folder, split, store.root) for split in ("train", "test"))
    if train.values.shape[1] != test.values.shape[1]:
        raise UserError(
            f"features in {folder}: train has length {train.values.shape[1]}, "
            f"test {test.values.shape[1]}"
        )
    for split, features in (("train", train), ("test", test)):
        if len(features) == 0 or int(features.targets.min()) < 0:
            raise UserError(f"features in {folder}: every item of {split} needs a target")
    num_classes = int(max(train.targets.max(), test.targets.max())) + 1
    return DatasetFeatures(folder.resolve().name, train, test, tuple(map(str, range(num_classes))))
