"""The data that a config describes: a dataset, or its features."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dal_toolbox.config.parts import build
from dal_toolbox.datasets import DATASETS, DatasetBundle
from dal_toolbox.datasets.selection import select_classes
from dal_toolbox.encoders import Encoder, create_encoder, load_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.features import DatasetFeatures, FeatureStore, dataset_features
from dal_toolbox.progress import log


def num_workers(config: Mapping[str, Any]) -> int:
    """``n_cpus``, at most the machine's."""
    return min(config["n_cpus"], os.cpu_count() or 1)


def device_of(accelerator: str) -> str:
    """The name of torch for ``trainer.accelerator``: ``gpu`` is ``cuda``."""
    return {"gpu": "cuda"}.get(accelerator, accelerator)


def make_dataset(config: Mapping[str, Any]) -> DatasetBundle:
    """The dataset of ``dataset``, of its ``classes`` only where these are given."""
    bundle = build(
        DATASETS, config["dataset"],
        dataset_path=Path(config["dataset_path"]), seed=config["random_seed"],
        num_workers=num_workers(config),
    )  # fmt: skip
    return select_classes(bundle, config["classes"]) if config["classes"] else bundle


def make_encoder(
    config: Mapping[str, Any], bundle: DatasetBundle
) -> tuple[Encoder, Mapping[str, Any]]:
    """The encoder of ``encoder_checkpoint``, or else of ``encoder``, and the facts about it.

    Raises:
        UserError: Neither is given, or both.
    """
    checkpoint, node = config["encoder_checkpoint"], config.get("encoder")
    if checkpoint is not None and node is None:
        return load_encoder(Path(checkpoint))
    if checkpoint is not None or node is None:
        raise UserError(
            "give encoder_checkpoint=<run folder of experiments/ssl/main.py>, or "
            "encoder=<name> with encoder.pretrained=true or encoder.checkpoint=<file>, or "
            "features=raw to learn from pixels"
        )
    encoder = create_encoder(**node, image_size=bundle.image_size, in_channels=bundle.in_channels)
    if not (node.get("pretrained") or node.get("checkpoint")):
        log.warning("encoder %s is untrained; encoder.pretrained=true loads weights", node["name"])
    mean, std = encoder.normalization or (bundle.mean, bundle.std)
    return encoder.eval(), {"mean": mean, "std": std}


def load_features(config: Mapping[str, Any]) -> DatasetFeatures:
    """Features of train and test: of the encoder through the store, of pixels, or from files."""
    return dataset_features(
        config["features"],
        lambda: make_dataset(config),
        store=FeatureStore(Path(config["feature_dir"])),
        make_encoder=lambda bundle: make_encoder(config, bundle),
        batch_size=config["batch_size"],
        num_workers=num_workers(config),
        device=device_of(config["accelerator"]),
        precision=config["precision"],
        dtype=getattr(torch, config["dtype"]),
    )
