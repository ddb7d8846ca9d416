"""The bridge between the registries and Hydra; the only package that imports Hydra."""

from dal_toolbox.config.launch import launch
from dal_toolbox.config.parts import build, plain

__all__ = ["build", "launch", "plain"]
