"""Feature extraction: an encoder and images in, cached features out."""

import dal_toolbox.starting  # noqa: F401  before what takes seconds

from pathlib import Path
from typing import Any

import torch

from dal_toolbox.arguments import at_least, one_of
from dal_toolbox.config import (
    check_extraction,
    device_of,
    encoder_maker,
    in_keys,
    launch,
    make_dataset,
    num_workers,
)
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.errors import UserError
from dal_toolbox.features import Features, FeatureStore, encoder_digest, encoder_features
from dal_toolbox.progress import log
from dal_toolbox.runs import RunFolder

SPLITS = ("train", "val", "test", "unlabeled")


def main(config: dict[str, Any], folder: Path) -> None:
    """Extracts what the store does not hold yet, split by split."""
    check(config)
    run = RunFolder(folder, config, overwrite=config["overwrite"])
    if run.finished:
        return
    make_encoder = encoder_maker(config)
    bundle = make_dataset(config)
    splits = splits_of(bundle, config["splits"])
    check_neighbors(bundle, splits, config["num_neighbors"])
    encoder, facts = make_encoder(bundle)
    digest = encoder_digest(encoder)
    results: dict[str, Any] = {}
    for split in splits:
        features = encoder_features(
            FeatureStore(Path(config["feature_dir"])), encoder, getattr(bundle, split), split,
            mean=facts["mean"], std=facts["std"], image_size=encoder.recipe["image_size"],
            batch_size=config["batch_size"], num_workers=num_workers(config),
            device=device_of(config["accelerator"]), precision=config["precision"],
            dtype=getattr(torch, config["dtype"]), digest=digest,
        )  # fmt: skip
        if config["num_neighbors"] > 0:
            features.neighbors(config["num_neighbors"])
        results[split] = summary(split, features)
    run.finish({**results, "classes": list(bundle.classes), "encoder": digest})


def check(config: dict[str, Any]) -> None:
    """Checks the values of the config before data is opened."""
    check_extraction(config)
    splits = config["splits"]
    with in_keys():
        at_least(0, num_neighbors=config["num_neighbors"])
        if splits is not None and not (isinstance(splits, list | str) and splits):
            raise ValueError(f"splits={splits}: must be null or a list of {', '.join(SPLITS)}")
        for split in splits_named(splits):
            one_of(SPLITS, splits=split)


def check_neighbors(bundle: DatasetBundle, splits: list[str], number: int) -> None:
    """Checks whether every split has so many neighbors, before the work of hours."""
    for split in splits:
        size = len(getattr(bundle, split))
        if number >= size:
            raise UserError(
                f"num_neighbors={number}: {split} has {size} images, and none is its own neighbor; "
                f"choose less, or leave it out of splits"
            )


def splits_named(splits: list[str] | str | None) -> list[str]:
    """The names that are given; one may stand without brackets."""
    return [splits] if isinstance(splits, str) else splits or []


def splits_of(bundle: DatasetBundle, wanted: list[str] | str | None) -> list[str]:
    """The splits that are wanted; all that the dataset has where none are named."""
    here = [split for split in SPLITS if getattr(bundle, split) is not None]
    missing = [split for split in splits_named(wanted) if split not in here]
    if missing:
        raise UserError(
            f"splits: {bundle.name} has no split '{missing[0]}', only {', '.join(here)}"
        )
    return splits_named(wanted) or here


def summary(split: str, features: Features) -> dict[str, Any]:
    """What was extracted, and where it lies."""
    if features.directory is None:
        raise UserError(f"the features of {split} cannot be kept; see the warning above")
    log.info("%s: %d features of length %d", split, *features.values.shape)
    return {"shape": list(features.values.shape), "directory": str(features.directory)}


if __name__ == "__main__":
    launch("features", main)
