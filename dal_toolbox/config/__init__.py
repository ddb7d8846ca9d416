"""The bridge between the registries and Hydra; the only package that imports Hydra."""

from dal_toolbox.config.launch import launch
from dal_toolbox.config.loading import (
    check_extraction,
    check_weights,
    device_of,
    encoder_maker,
    in_keys,
    load_features,
    make_dataset,
    make_encoder,
    num_workers,
)
from dal_toolbox.config.parts import build, plain

__all__ = [
    "build",
    "check_extraction",
    "check_weights",
    "device_of",
    "encoder_maker",
    "in_keys",
    "launch",
    "load_features",
    "make_dataset",
    "make_encoder",
    "num_workers",
    "plain",
]
