"""Data: images, targets, names, and the facts that belong to them."""

from dal_toolbox.datasets.base import (
    DATASETS,
    DatasetBundle,
    DatasetNotFound,
    ImageArray,
    Images,
)
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.loader import ImageLoader

__all__ = [
    "DATASETS",
    "DatasetBundle",
    "DatasetNotFound",
    "ImageArray",
    "ImageFiles",
    "ImageLoader",
    "Images",
]
