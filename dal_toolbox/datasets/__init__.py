"""Data: images, targets, names, and the facts that belong to them."""

from dal_toolbox.datasets.base import (
    DATASETS,
    DatasetBundle,
    DatasetNotFound,
    ImageArray,
    Images,
    SkippedFile,
)
from dal_toolbox.datasets.files import ImageFiles
from dal_toolbox.datasets.loader import ImageLoader
from dal_toolbox.datasets.opening import open_images, split_images
from dal_toolbox.datasets.selection import images_per_class, select_classes

__all__ = [
    "DATASETS",
    "DatasetBundle",
    "DatasetNotFound",
    "ImageArray",
    "ImageFiles",
    "ImageLoader",
    "Images",
    "SkippedFile",
    "images_per_class",
    "open_images",
    "select_classes",
    "split_images",
]
