from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import (
    FixedClassifier,
    PosteriorClassifier,
    Situation,
    blobs,
)
from dal_toolbox.active_learning.strategies._temperature import TEMPERATURES, temperature
from dal_toolbox.active_learning.strategies.maxherding import MaxHerding
from dal_toolbox.active_learning.strategies.uncertainty_herding import (
    UncertaintyHerding,
    closest_pair,
)
from dal_toolbox.metrics import expected_calibration_error
from dal_toolbox.seeding import generator

LABELED = (0, 1, 2, 10, 11, 20, 21, 33)


def context_of(labeled=LABELED, features=None, **options):
    x, targets = blobs(60)
    x = x if features is None else features
    labels = tuple(targets[list(labeled)].tolist())
    return Situation(x, labeled, labels, **options).context(PosteriorClassifier)


def reference(context, n, sigma, t):
    x = context.normalized.double().numpy()
    labeled, unlabeled = context.labeled, context.unlabeled
    logits = context.logits.double().numpy() / t
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = np.sort(p / p.sum(axis=1, keepdims=True), axis=1)
    uncertainty = np.zeros(len(x))
    uncertainty[unlabeled] = 1 - (p[:, -1] - p[:, -2])
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=2) / sigma**2)
    covered = kernel[:, labeled].max(axis=1, initial=0.0)
    picks = []
    for _ in range(n):
        gains = uncertainty @ np.maximum(kernel[:, unlabeled] - covered[:, None], 0)
        gains[np.isin(unlabeled, picks)] = -1
        picks.append(int(unlabeled[gains.argmax()]))
        covered = np.maximum(covered, kernel[:, picks[-1]])
    return picks


@pytest.mark.parametrize("sigma", [None, 0.7])
def test_picks_equal_the_reference(sigma):
    context = context_of()
    t = temperature(context_of(), 5)  # the same rng
    x = context.normalized[context.labeled].double()
    length = sigma or torch.nn.functional.pdist(x).min().item()
    expected = reference(context, 25, length, t)
    assert UncertaintyHerding(sigma=sigma).query(context, 25).tolist() == expected


def test_without_labels_it_is_maxherding():
    picks = UncertaintyHerding().query(context_of(()), 20)
    assert picks.tolist() == MaxHerding().query(context_of(()), 20).tolist()


def test_a_narrow_kernel_gives_margin_sampling():
    context = context_of()
    strategy = UncertaintyHerding(sigma=1e-3)
    t = temperature(context_of(), 5)
    scaled = (context.logits.double() / t).softmax(dim=1).topk(2, dim=1).values
    order = context.unlabeled[np.argsort((scaled[:, 0] - scaled[:, 1]).numpy())]
    assert strategy.query(context, 10).tolist() == order[:10].tolist()


def test_certain_predictions_leave_it_to_coverage(caplog):
    context = context_of(make_classifier=lambda c: FixedClassifier(c, certain=True))
    with caplog.at_level("INFO", logger="dal_toolbox"):
        picks = UncertaintyHerding(sigma=1.0).query(context, 12)
    assert picks.tolist() == MaxHerding().query(context_of(), 12).tolist()
    assert "after 0 of 12 items" in caplog.text


def test_all_items_can_be_taken():
    features = blobs(60)[0][:15].repeat(4, 1)
    picks = UncertaintyHerding().query(context_of(features=features), 52)
    assert len(set(picks.tolist())) == 52


def test_temperature_has_the_smallest_held_out_error():
    context = context_of()
    order = context_of().rng.permutation(8)
    x, y = context.features[context.labeled[order]], context.labels[order]
    logits = torch.empty(8, 3, dtype=torch.float64)
    for i in range(4):
        held_out = torch.arange(8) % 4 == i
        model = PosteriorClassifier(3).fit(x[~held_out], y[~held_out])
        logits[held_out] = model.logits(x[held_out]).double()
    errors = [expected_calibration_error(logits / t, y) for t in TEMPERATURES]
    before = context.logits.clone()
    assert temperature(context, 4) == TEMPERATURES[np.argmin(errors)]
    after = context.classifier.logits(context.features[context.unlabeled])
    assert torch.equal(before, after)  # it was a copy that was fitted


def test_overconfidence_is_cooled():
    class Overconfident(FixedClassifier):
        def logits(self, features):
            return 50 * (features[:, :1] > 0) * torch.tensor([1.0, 0, 0])

    rng = generator(0, "test")
    labels = torch.from_numpy(rng.integers(3, size=60))
    context = SimpleNamespace(
        classifier=Overconfident(3, certain=False),
        features=torch.ones(60, 2),
        labels=labels,
        labeled=np.arange(60),
        num_classes=3,
        rng=rng,
    )
    assert temperature(context, 5) == 20.0


def test_temperature_of_one_label_is_one():
    assert temperature(context_of((5,)), 5) == 1.0


def test_closest_pair_passes_over_duplicates():
    x = torch.tensor([[1.0, 0], [2, 0], [0, 1], [1, 1], [5, 5]])
    labels = (0,) * 3
    assert closest_pair(
        Situation(x, (0, 1, 2), labels).context(PosteriorClassifier)
    ) == pytest.approx(2**0.5)
    context = Situation(x, (0, 1), labels[:2]).context(PosteriorClassifier)
    assert closest_pair(context) == 1.0


@pytest.mark.parametrize("wrong", [{"sigma": -1.0}, {"num_folds": 1}, {"max_targets": 0}])
def test_wrong_hyperparameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        UncertaintyHerding(**wrong)
