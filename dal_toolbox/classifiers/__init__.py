"""Classifiers on features."""

from dal_toolbox.classifiers.base import (
    CLASSIFIERS,
    BayesianClassifier,
    Classifier,
    with_posterior,
)

__all__ = ["CLASSIFIERS", "BayesianClassifier", "Classifier", "with_posterior"]
