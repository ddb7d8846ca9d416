"""Features: what an encoder makes of images, computed once and kept."""

from dal_toolbox.features.dataset import DatasetFeatures, dataset_features
from dal_toolbox.features.extract import extract_features
from dal_toolbox.features.features import Features
from dal_toolbox.features.load import encoder_features, raw_features
from dal_toolbox.features.precomputed import read_features
from dal_toolbox.features.spec import FeatureSpec, encoder_digest
from dal_toolbox.features.store import FeatureStore

__all__ = [
    "DatasetFeatures",
    "FeatureSpec",
    "FeatureStore",
    "Features",
    "dataset_features",
    "encoder_digest",
    "encoder_features",
    "extract_features",
    "raw_features",
    "read_features",
]
