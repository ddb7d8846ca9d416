"""Evaluation and measurement during pretraining; none of it changes a method."""

from dal_toolbox.ssl.callbacks.collapse import CollapseMonitor
from dal_toolbox.ssl.callbacks.contrastive import ContrastiveAccuracy, ValidationLoss
from dal_toolbox.ssl.callbacks.features import CleanFeatures
from dal_toolbox.ssl.callbacks.finite import FiniteLoss, NonFiniteLoss
from dal_toolbox.ssl.callbacks.knn import KNNEvaluation
from dal_toolbox.ssl.callbacks.linear import LinearEvaluation
from dal_toolbox.ssl.callbacks.throughput import ThroughputMeter

__all__ = [
    "CleanFeatures",
    "CollapseMonitor",
    "ContrastiveAccuracy",
    "FiniteLoss",
    "KNNEvaluation",
    "LinearEvaluation",
    "NonFiniteLoss",
    "ThroughputMeter",
    "ValidationLoss",
]
