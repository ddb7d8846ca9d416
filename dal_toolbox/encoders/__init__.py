"""Encoders: networks that turn images into features."""

from dal_toolbox.encoders.base import ENCODERS, Encoder, create_encoder
from dal_toolbox.encoders.checkpoint import load_encoder, save_encoder

__all__ = ["ENCODERS", "Encoder", "create_encoder", "load_encoder", "save_encoder"]
