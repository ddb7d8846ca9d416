"""Features: what an encoder makes of images, computed once and kept."""

from dal_toolbox.features.classes import to_classes
from dal_toolbox.features.dataset import DatasetFeatures, check_source, dataset_features
from dal_toolbox.features.extract import BadFeatures, check_options, extract_features
from dal_toolbox.features.features import Features
from dal_toolbox.features.finite import rows_not_finite
from dal_toolbox.features.load import encoder_features, raw_features
from dal_toolbox.features.precomputed import BadFeatureFile, read_features
from dal_toolbox.features.spec import DTYPES, FeatureSpec, encoder_digest
from dal_toolbox.features.store import FeatureStore

__all__ = [
    "DTYPES",
    "BadFeatureFile",
    "BadFeatures",
    "DatasetFeatures",
    "FeatureSpec",
    "FeatureStore",
    "Features",
    "check_options",
    "check_source",
    "dataset_features",
    "encoder_digest",
    "encoder_features",
    "extract_features",
    "raw_features",
    "read_features",
    "rows_not_finite",
    "to_classes",
]
