"""Encoders: networks that turn images into features."""

from dal_toolbox.encoders._pretrained import find_pretrained
from dal_toolbox.encoders.base import ENCODERS, Encoder, create_encoder
from dal_toolbox.encoders.checkpoint import load_encoder, save_encoder
from dal_toolbox.encoders.state_dict import Report, load_weights

__all__ = [
    "ENCODERS",
    "Encoder",
    "Report",
    "create_encoder",
    "find_pretrained",
    "load_encoder",
    "load_weights",
    "save_encoder",
]
