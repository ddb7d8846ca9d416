import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies.facility_location import FacilityLocation


def reference(x, labeled, targets, candidates, n):
    similarity = 1 - ((x[:, None] - x[None]) ** 2).sum(axis=2) / 4  # (1 + cos) / 2
    covered = similarity[targets][:, labeled].max(axis=1, initial=0.0)
    picks = []
    for _ in range(n):
        gains = np.maximum(similarity[targets][:, candidates] - covered[:, None], 0).sum(axis=0)
        gains = gains.astype(np.float32)  # the last two of a pair gain the same, up to rounding
        gains[np.isin(candidates, picks)] = -1
        picks.append(int(candidates[gains.argmax()]))
        covered = np.maximum(covered, similarity[targets, picks[-1]])
    return picks


@pytest.mark.parametrize("labeled", [(), (3,), (0, 1, 2, 10, 11)])
def test_picks_equal_the_reference(labeled):
    features, targets = blobs(60)
    situation = Situation(features, labeled, tuple(targets[list(labeled)].tolist()))
    context = situation.context(PosteriorClassifier)
    x = context.normalized.double().numpy()
    unlabeled = context.unlabeled
    expected = reference(x, list(labeled), unlabeled, unlabeled, 20)
    assert FacilityLocation().query(context, 20).tolist() == expected


def test_filter_keeps_the_most_uncertain_items():
    features, targets = blobs(60)
    labeled = (0, 1, 2, 10, 11)
    situation = Situation(features, labeled, tuple(targets[list(labeled)].tolist()))
    context = situation.context(PosteriorClassifier)
    p = context.probabilities.numpy()
    entropy = -(p * np.log(p)).sum(axis=1)
    some = np.sort(context.unlabeled[np.argsort(-entropy)[:20]])
    x = context.normalized.double().numpy()
    expected = reference(x, list(labeled), some, some, 5)
    assert FacilityLocation(filter_factor=4).query(context, 5).tolist() == expected
    assert sorted(FacilityLocation(filter_factor=1).query(context, 20)) == some.tolist()


def test_no_filter_without_labels(caplog):
    context = Situation(blobs(60)[0]).context(PosteriorClassifier)
    with caplog.at_level("INFO", logger="dal_toolbox"):
        picks = FacilityLocation(filter_factor=2).query(context, 4)
    assert picks.tolist() == FacilityLocation().query(context, 4).tolist()
    assert "no classifier yet" in caplog.text


def test_scale_of_the_features_does_not_matter():
    features = blobs(60)[0]
    first, second = (
        FacilityLocation().query(Situation(x).context(PosteriorClassifier), 15)
        for x in (features, features * torch.linspace(1, 9, 60)[:, None].round())
    )
    assert first.tolist() == second.tolist()


def test_filter_factor_must_be_positive():
    with pytest.raises(ValueError, match="filter_factor=0"):
        FacilityLocation(filter_factor=0)
