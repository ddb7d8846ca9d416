import math

import numpy as np
import pytest
import torch

from dal_toolbox import metrics


@pytest.fixture(scope="module")
def predictions() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(scale=2.0, size=(500, 7)).astype(np.float32))
    targets = torch.from_numpy(rng.integers(0, 6, size=500))  # class 6 never occurs
    return logits, targets


def test_accuracies_equal_sklearn(predictions):
    from sklearn.metrics import accuracy_score, recall_score

    logits, targets = predictions
    predicted = logits.argmax(1)
    assert metrics.accuracy(logits, targets) == accuracy_score(targets, predicted)
    recall = recall_score(targets, predicted, labels=range(6), average="macro")
    assert metrics.macro_accuracy(logits, targets) == pytest.approx(recall, abs=1e-12)


def test_nll_equals_sklearn(predictions):
    from sklearn.metrics import log_loss

    logits, targets = predictions
    probabilities = logits.double().softmax(1).numpy()
    expected = log_loss(targets.numpy(), probabilities, labels=range(7))
    assert metrics.nll(logits, targets) == pytest.approx(expected, abs=1e-9)


def test_brier_equals_sum_over_classes(predictions):
    from sklearn.metrics import brier_score_loss

    logits, targets = predictions
    probabilities = logits.double().softmax(1).numpy()
    expected = sum(
        brier_score_loss((targets == c).numpy(), probabilities[:, c], labels=[False, True])
        for c in range(7)
    )
    assert metrics.brier(logits, targets) == pytest.approx(expected, abs=1e-9)


@pytest.mark.filterwarnings("ignore")  # torchmetrics imports what warns
@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_calibration_error_equals_torchmetrics(predictions, num_bins):
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, targets = predictions
    expected = multiclass_calibration_error(
        logits.double().softmax(1), targets, num_classes=7, n_bins=num_bins
    )
    ours = metrics.expected_calibration_error(logits, targets, num_bins)
    assert ours == pytest.approx(expected.item(), abs=1e-6)


def test_closed_forms():
    uniform, certain = torch.zeros(4, 4), 1e4 * torch.eye(4)
    targets = torch.arange(4)
    assert metrics.nll(uniform, targets) == pytest.approx(math.log(4))
    assert metrics.brier(uniform, targets) == pytest.approx(0.75)
    assert metrics.expected_calibration_error(uniform, targets) == pytest.approx(0.0)
    assert metrics.nll(certain, targets) == 0.0
    assert metrics.brier(certain, targets.roll(1)) == pytest.approx(2.0)
    assert metrics.expected_calibration_error(certain, targets.roll(1)) == pytest.approx(1.0)
    assert math.isfinite(metrics.nll(certain, targets.roll(1)))


def test_macro_accuracy_weights_classes_equally():
    logits = torch.eye(2)[torch.zeros(10, dtype=torch.long)]
    targets = torch.tensor([0] * 9 + [1])
    assert metrics.accuracy(logits, targets) == pytest.approx(0.9)
    assert metrics.macro_accuracy(logits, targets) == 0.5


def test_area_under_learning_curve():
    area = metrics.area_under_learning_curve
    assert area([10, 50, 90], [0.3, 0.3, 0.3]) == pytest.approx(0.3)
    assert area([0, 10], [0.0, 1.0]) == pytest.approx(0.5)
    assert area([10, 20, 40], [0.0, 1.0, 1.0], log=True) == pytest.approx(0.75)
    assert area(torch.tensor([10, 20, 40]), torch.tensor([0.0, 1.0, 1.0])) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("labels", "values", "log"),
    [
        ([10], [0.5], False),
        ([10, 10], [0, 1], False),
        ([1, 2], [0.0], False),
        ([0, 2], [0, 1], True),
    ],
)
def test_area_rejects_what_is_no_curve(labels, values, log):
    with pytest.raises(ValueError, match="label counts"):
        metrics.area_under_learning_curve(labels, values, log=log)


@pytest.mark.parametrize(
    ("targets", "message"),
    [([0], "do not fit"), ([0, 3], "know classes 0 to 2"), ([0, -1], "lie in")],
)
def test_targets_must_fit(targets, message):
    with pytest.raises(ValueError, match=message):
        metrics.accuracy(torch.zeros(2, 3), torch.tensor(targets))


def test_empty_split_is_named():
    with pytest.raises(ValueError, match="0 items"):
        metrics.nll(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(
    "metric",
    [
        metrics.accuracy,
        metrics.macro_accuracy,
        metrics.nll,
        metrics.brier,
        metrics.expected_calibration_error,
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_must_be_finite(metric, value, predictions):
    logits, targets = predictions
    logits = logits.clone()
    logits[3, 1] = value
    with pytest.raises(ValueError, match="the logits of 1 of 500 items hold NaN or infinity"):
        metric(logits, targets)
