import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies._radii import ball_purities, covered_share, pure_radii
from dal_toolbox.active_learning.strategies.dcom import DCoM
from dal_toolbox.active_learning.strategies.probcover import ProbCover
from dal_toolbox.active_learning.strategies.uncertainty import MarginSampling
from dal_toolbox.seeding import generator

LABELED = (0, 1, 2, 10, 11, 20, 21, 33)


def context_of(labeled=LABELED, n=60):
    features, targets = blobs(n)
    return Situation(features, labeled, tuple(targets[list(labeled)].tolist())).context(
        PosteriorClassifier
    )


def distances_of(x):
    x = x.double().numpy()
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))


def bisected(distances, labels, center, purity, max_radius=1.1, resolution=0.05):
    low, high = 0.0, max_radius
    while high - low > resolution:
        middle = (low + high) / 2
        ball = distances[center] < middle
        low, high = (
            (middle, high) if (labels[ball] == labels[center]).mean() >= purity else (low, middle)
        )
    return (low + high) / 2


def reference(context, n, delta):
    distances = distances_of(context.normalized)
    labeled, unlabeled = context.labeled, context.unlabeled
    labels = np.empty(len(distances), int)
    labels[labeled] = context.labels
    labels[unlabeled] = context.logits.argmax(dim=1)
    covered = (distances[labeled] < delta).any(axis=0)
    for _ in range(3):
        threshold = 0.4 + 0.2 * covered.mean()
        radii = np.array([bisected(distances, labels, i, threshold) for i in labeled])
        covered = (distances[labeled] < radii[:, None]).any(axis=0)
    competence = (1 + math.exp(-50 * 0.2)) / (1 + math.exp(-50 * (covered.mean() - 0.8)))
    ball = distances < radii.mean()
    top = np.sort(context.probabilities.numpy(), axis=1)
    margin = 1 - (top[:, -1] - top[:, -2])
    margin = (margin - margin.min()) / (margin.max() - margin.min())
    picks = []
    for _ in range(n):
        open_ = ~np.isin(unlabeled, picks)
        degrees = (ball & ~covered)[unlabeled].sum(axis=1) * open_
        uncertain = margin * open_
        score = (1 - competence) * degrees / max(1, degrees.max())
        score += competence * uncertain / (uncertain.max() or 1)
        picks.append(int(unlabeled[np.where(open_, score, -1).argmax()]))
        covered = covered | ball[picks[-1]]
    return picks, competence


@pytest.mark.parametrize("delta", [0.3, 0.9])
@pytest.mark.parametrize("labeled", [(3,), LABELED])
def test_picks_equal_the_reference(delta, labeled):
    context = context_of(labeled)
    expected, _ = reference(context, 20, delta)
    assert DCoM(delta=delta).query(context, 20).tolist() == expected


def test_competence_decides_between_density_and_margin():
    strategy = DCoM()
    assert strategy._competence(1.0) == 1.0
    assert strategy._competence(0.0) < 1e-10
    assert strategy._competence(0.8) == pytest.approx(0.5, abs=1e-4)
    context = context_of()
    top = context.probabilities.topk(2, dim=1).values
    by_margin = context.unlabeled[np.argsort((top[:, 0] - top[:, 1]).numpy())]
    picks = DCoM(delta=0.5, center=-5.0).query(context, 10)  # always competent
    assert picks.tolist() == by_margin[:10].tolist()


def test_without_labels_it_is_probcover(caplog):
    with caplog.at_level("INFO", logger="dal_toolbox"):
        picks = DCoM().query(context_of(()), 10)
    assert picks.tolist() == ProbCover(purity=0.95).query(context_of(()), 10).tolist()
    assert "dcom needs a classifier: probcover chooses 10 items instead" in caplog.text


def test_restricted_candidates_and_limits():
    context = context_of(n=150)
    some = context.restrict(context.unlabeled[::2])
    expected = set(some.unlabeled.tolist())
    assert set(DCoM(delta=0.5).query(some, 20).tolist()) <= expected
    assert len(set(DCoM(delta=0.5, max_items=30).query(context, 25).tolist())) == 25


@pytest.mark.parametrize("purity", [0.4, 0.6, 0.95])
@pytest.mark.parametrize("chunk_bytes", [2**10, 2**22])
def test_radii_equal_bisection(purity, chunk_bytes):
    x = F.normalize(blobs(300)[0], dim=1)
    labels = torch.from_numpy(generator(0, "test").integers(3, size=300) // 2)
    centers = torch.arange(0, 300, 7)
    shares = ball_purities(
        x, labels, centers, max_radius=1.1, resolution=0.05, chunk_bytes=chunk_bytes
    )
    radii = pure_radii(shares, purity, 1.1)
    distances = distances_of(x)
    expected = [bisected(distances, labels.numpy(), int(i), purity) for i in centers]
    np.testing.assert_allclose(radii.numpy(), expected, rtol=1e-12)
    covered, share = covered_share(x, centers, radii, chunk_bytes=chunk_bytes)
    true = (distances[centers] < radii.numpy()[:, None]).any(axis=0)
    assert covered.tolist() == true.tolist()
    assert share == pytest.approx(true.mean())


def digits_context(n):
    data = load_digits()
    features, targets = torch.from_numpy(data.data / 16).float(), data.target
    labeled = tuple(generator(0, "test").permutation(len(targets))[:n].tolist())
    known = tuple(targets[list(labeled)].tolist())
    return Situation(features, labeled, known, 10).context(PosteriorClassifier)


@pytest.mark.parametrize(("number", "margin", "density"), [(10, False, True), (300, True, False)])
def test_density_decides_at_few_labels_and_margin_at_many(number, margin, density):
    context = digits_context(number)
    strategy = DCoM(min_purity=0.9, max_purity=0.9)
    picks = strategy.query(context, 10).tolist()
    by_margin = MarginSampling().query(context, 10).tolist()
    by_density = DCoM(min_purity=0.9, max_purity=0.9, center=5.0).query(context, 10).tolist()
    assert (picks == by_margin, picks == by_density) == (margin, density)


def test_a_threshold_that_few_balls_reach_hands_over_to_margin_at_once():
    context = digits_context(40)  # of 0.4 to 0.6, as published
    picks = set(DCoM().query(context, 10).tolist())
    assert len(picks & set(MarginSampling().query(context, 10).tolist())) >= 8


@pytest.mark.parametrize(
    "wrong",
    [{"resolution": 0.0}, {"resolution": 2.0}, {"max_items": 0}, {"min_purity": 0.7}],
)
def test_wrong_hyperparameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DCoM(**wrong)
