"""What is measured after every cycle."""

from collections.abc import Callable

from torch import Tensor

from dal_toolbox import metrics
from dal_toolbox.classifiers import Classifier


def evaluation_on(features: Tensor, targets: Tensor) -> Callable[[Classifier], dict[str, float]]:
    """Measures classifiers on a test split.

    Args:
        features: Shape: (n, d).
        targets: Known classes. Shape: (n,).

    Returns:
        A function from a fitted classifier to its accuracy, macro_accuracy, nll, brier and ece.
    """

    def evaluate(classifier: Classifier) -> dict[str, float]:
        logits = classifier.logits(features)
        return {
            "accuracy": metrics.accuracy(logits, targets),
            "macro_accuracy": metrics.macro_accuracy(logits, targets),
            "nll": metrics.nll(logits, targets),
            "brier": metrics.brier(logits, targets),
            "ece": metrics.expected_calibration_error(logits, targets),
        }

    return evaluate
