"""The data that a config describes: a dataset, or its features."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dal_toolbox.arguments import at_least, between, one_of
from dal_toolbox.config.parts import build, placed
from dal_toolbox.datasets import DATASETS, DatasetBundle
from dal_toolbox.datasets.selection import select_classes
from dal_toolbox.encoders import Encoder, create_encoder, find_pretrained, load_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features import (
    DTYPES,
    DatasetFeatures,
    FeatureStore,
    check_options,
    check_source,
    dataset_features,
)
from dal_toolbox.progress import log
from dal_toolbox.seeding import seed_everything

EncoderMaker = Callable[[DatasetBundle], tuple[Encoder, Mapping[str, Any]]]
LARGEST_SEED = 2**63 - 1  # that torch takes
OF_ENCODER = ("encoder", "untrained")  # features that need one
# Parameters of the parts below, and the keys that give them.
KEYS = {
    "source": "features",
    "on_error": "features_on_error",
    "device": "accelerator",
}


def check_extraction(config: Mapping[str, Any]) -> None:
    """Checks the keys that :func:`make_dataset` and :func:`load_features` read, before data is opened.

    Raises:
        UserError: A value that cannot be meant, or that this machine cannot follow.
    """
    with in_keys():
        at_least(0, random_seed=config["random_seed"])
        between(0, LARGEST_SEED, random_seed=config["random_seed"])
        device = device_of(config["accelerator"])
        check_options(config["batch_size"], num_workers(config), device, config["precision"])
        one_of(DTYPES, dtype=config["dtype"])
        one_of(["raise", "skip"], on_error=config.get("features_on_error", "raise"))
        check_source(config.get("features", "encoder"))
        for key in ("dataset_path", "feature_dir"):
            if not isinstance(config[key], str) or not config[key]:
                raise ValueError(f"{key}={config[key]}: must be a folder")
        classes = config["classes"]
        if classes is not None and not isinstance(classes, list):
            raise ValueError(f"classes={classes}: must be a list, such as [cat,dog]")


@contextmanager
def in_keys() -> Iterator[None]:
    """Says in the words of the config what the parts say in words of their parameters."""
    try:
        yield
    except (ValueError, UserError) as error:
        names = "|".join(KEYS)
        text = re.sub(rf"(?<![\w.])({names})(?==)", lambda match: KEYS[match[1]], str(error))
        text = text.replace("accelerator='cuda'", "accelerator='gpu'")
        kind = type(error) if isinstance(error, UserError) else UserError
        raise kind(text) from error


def num_workers(config: Mapping[str, Any]) -> int:
    """``n_cpus``, at most the machine's."""
    with in_keys():
        at_least(0, n_cpus=config["n_cpus"])
    return min(config["n_cpus"], os.cpu_count() or 1)


def device_of(accelerator: Any) -> Any:
    """The name of torch for an accelerator: ``gpu`` is ``cuda``."""
    return "cuda" if accelerator == "gpu" else accelerator


def make_dataset(config: Mapping[str, Any]) -> DatasetBundle:
    """The dataset of ``dataset``, of its ``classes`` only where these are given."""
    bundle = build(
        DATASETS, config["dataset"],
        dataset_path=Path(config["dataset_path"]), seed=config["random_seed"],
        num_workers=num_workers(config),
    )  # fmt: skip
    return select_classes(bundle, config["classes"]) if config["classes"] else bundle


def encoder_maker(config: Mapping[str, Any]) -> EncoderMaker:
    """Makes the encoder for a dataset; what needs no dataset is loaded or looked for at once.

    Raises:
        UserError: Neither ``encoder_checkpoint`` nor ``encoder`` is given, or both; or it is not there.
    """
    checkpoint, node = config["encoder_checkpoint"], config.get("encoder")
    if checkpoint is not None and node is None:
        loaded = load_encoder(_path("encoder_checkpoint", checkpoint))
        if not {"mean", "std"} <= loaded[1].keys():
            raise UserError(
                f"encoder_checkpoint={checkpoint}: its JSON file does not tell mean and std of the "
                "channels that the encoder was trained with"
            )
        return lambda bundle: loaded
    if checkpoint is not None or node is None:
        raise UserError(
            "give encoder_checkpoint=<run folder of experiments/ssl/main.py>, or "
            "encoder=<name> with encoder.pretrained=true or encoder.checkpoint=<file>, or "
            "features=raw to learn from pixels"
        )
    if node.get("checkpoint") is not None:
        _path("encoder.checkpoint", node["checkpoint"])
    check_weights(node)
    return partial(_with_facts, config)


def check_weights(node: Mapping[str, Any]) -> None:
    """Looks for the published weights of an encoder before data is opened.

    Raises:
        UserError: There are none, or there is no network to fetch them.
    """
    if not node.get("pretrained"):
        return
    try:
        find_pretrained(str(node.get("model") or node["name"]))
    except UserError as error:
        raise UserError(f"encoder.{error}") from error


def make_encoder(config: Mapping[str, Any], bundle: DatasetBundle) -> Encoder:
    """The encoder of ``encoder`` for a dataset; weights that are not loaded come from the seed."""
    seed_everything(config["random_seed"])
    node = config["encoder"]
    try:
        return create_encoder(**node, image_size=bundle.image_size, in_channels=bundle.in_channels)
    except (ValueError, UserError) as error:
        raise placed(error, "encoder", node, node["name"]) from error


def _path(key: str, value: Any) -> Path:
    """A file or folder that is there."""
    with suppress(OSError):  # a name that is too long, for example
        if isinstance(value, str) and value and Path(value).exists():
            return Path(value)
    raise UserError(f"{key}={value}: no such file or folder")


def _with_facts(
    config: Mapping[str, Any], bundle: DatasetBundle
) -> tuple[Encoder, Mapping[str, Any]]:
    encoder, node = make_encoder(config, bundle), config["encoder"]
    if not (node.get("pretrained") or node.get("checkpoint")):
        name = node.get("model") or node["name"]
        key = "encoder.pretrained=true" if "pretrained" in node else "encoder.checkpoint=<file>"
        log.warning("encoder %s is untrained; %s loads weights", name, key)
    mean, std = encoder.normalization or (bundle.mean, bundle.std)
    return encoder.eval(), {"mean": mean, "std": std}


def load_features(
    config: Mapping[str, Any], check: Callable[[DatasetBundle], None] | None = None
) -> DatasetFeatures:
    """Features of train and test: of the encoder through the store, of pixels, or from files.

    Args:
        config: The config of the main.
        check: Is called with the dataset before features are extracted.
    """
    check_extraction(config)
    source, seed = config["features"], config["random_seed"]
    maker = encoder_maker(config) if source in OF_ENCODER else None

    def seeded(bundle: DatasetBundle) -> tuple[Encoder, Mapping[str, Any]]:
        assert maker is not None
        made = maker(bundle)
        seed_everything(seed)  # untrained: the weights with which a pretraining begins
        return made

    def make_bundle() -> DatasetBundle:
        bundle = make_dataset(config)
        if check is not None:
            check(bundle)
        return bundle

    with in_keys():
        return dataset_features(
            source,
            make_bundle,
            store=FeatureStore(Path(config["feature_dir"])),
            make_encoder=seeded if maker is not None else None,
            on_error=config.get("features_on_error", "raise"),
            batch_size=config["batch_size"],
            num_workers=num_workers(config),
            device=device_of(config["accelerator"]),
            precision=config["precision"],
            dtype=getattr(torch, config["dtype"]),
        )
