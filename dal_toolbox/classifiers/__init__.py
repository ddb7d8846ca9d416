"""Classifiers on features."""

from dal_toolbox.classifiers.base import CLASSIFIERS, BayesianClassifier, Classifier

__all__ = ["CLASSIFIERS", "BayesianClassifier", "Classifier"]
