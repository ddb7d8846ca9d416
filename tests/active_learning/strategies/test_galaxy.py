import logging
from itertools import pairwise

import numpy as np
import pytest

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies.galaxy import GALAXY, next_on_line


def next_of(known, positive):
    return next_on_line(np.flatnonzero(known), positive[known], len(known))


def naive_next(known, positive):
    """All stretches between neighbors with labels, one after the other."""
    labeled = [i for i in range(len(known)) if known[i]]
    stretches, cuts = [], []
    for left, right in pairwise(labeled):
        if positive[left] == positive[right]:
            continue
        if right - left > 1:
            stretches.append((right - left, left, right))
        cuts.append(left + 0.5)
    if stretches:
        _, left, right = min(stretches)
        return (left + right) // 2
    free = [i for i in range(len(known)) if not known[i]]
    return min(free, key=lambda i: (min(abs(i - cut) for cut in cuts), i))


@pytest.mark.parametrize("seed", range(200))
def test_next_on_line_equals_naive(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(3, 15))
    known, positive = rng.random(m) < rng.choice([0.3, 0.6, 0.9]), rng.random(m) < 0.5
    known[:2], positive[:2] = True, (True, False)
    order = rng.permutation(m)
    known, positive = known[order], positive[order]
    if known.all():
        known[np.flatnonzero(positive)[-1]] = len(set(positive)) < 2
        if len(set(positive[known])) < 2 or known.all():
            return
    assert next_of(known, positive) == naive_next(known, positive)


def test_bisection_halves_the_stretch():
    known = np.zeros(101, dtype=bool)
    positive = np.arange(101) < 30
    known[[0, 100]] = True
    asked = []
    for _ in range(7):
        asked.append(next_of(known, positive))
        known[asked[-1]] = True
    assert asked[:4] == [50, 25, 37, 31]
    assert {29, 30} <= set(np.flatnonzero(known).tolist())  # the border is found
    assert next_of(known, positive) == 27  # 28 is known, 32 as near: the first of both


def reference(context, n):
    """The procedure with full sorts in float64 and a label for each item, as lists."""
    p = context.classifier.probabilities(context.features).numpy()
    predicted = context.classifier.logits(context.features).argmax(1).numpy()
    label = {int(i): int(y) for i, y in zip(context.labeled, context.labels, strict=True)}
    classes = sorted(set(label.values()))
    if context.num_classes == 2:
        classes = classes[:1]
    items = sorted([*context.labeled.tolist(), *context.unlabeled.tolist()])
    picks = []
    for _ in range(n):
        k = int(context.rng.choice(np.array(classes)))
        top = p.max(1)
        line = sorted(
            items, key=lambda i: (np.float32(top[i]) - np.float32(p[i, k]), -np.float32(top[i]), i)
        )
        known = [i in label for i in line]
        picks.append(line[naive_next(known, [label.get(i) == k for i in line])])
        label[picks[-1]] = int(predicted[picks[-1]])
    return picks


@pytest.mark.parametrize(
    "name", ["ordinary", "duplicates", "classes 3 and 7 only", "two classes", "200 classes"]
)
@pytest.mark.parametrize("n", [1, 25])
def test_picks_equal_the_reference(name, n):
    context, other = (situations()[name].context(PosteriorClassifier) for _ in range(2))
    assert GALAXY().query(context, n).tolist() == reference(other, n)


def test_candidates_alone_stand_in_line():
    context, other = (situations()["ordinary"].context(PosteriorClassifier) for _ in range(2))
    some = context.unlabeled[::2]
    picks = GALAXY().query(context.restrict(some), 10)
    assert picks.tolist() == reference(other.restrict(some), 10)


def test_small_caches_do_not_matter():
    ordinary = situations()["ordinary"]
    expected = GALAXY().query(ordinary.context(PosteriorClassifier), 30)
    picks = GALAXY().query(ordinary.context(PosteriorClassifier, chunk_bytes=1), 30)
    assert picks.tolist() == expected.tolist()


def test_picks_lie_where_the_prediction_is_unsure():
    features, targets = blobs(600, d=2)
    situation = Situation(features, tuple(range(30)), tuple(targets[:30].tolist()))
    context = situation.context(PosteriorClassifier)
    top = context.probabilities.topk(2, dim=1).values.numpy()
    margins = top[:, 0] - top[:, 1]
    picks = GALAXY().query(context, 60)
    chosen = margins[np.searchsorted(context.unlabeled, picks)]
    assert np.median(chosen) < np.median(margins)


@pytest.mark.parametrize(
    ("name", "message"), [("cold start", "classifier"), ("one class seen", "two classes")]
)
def test_random_without_two_classes(name, message, caplog):
    context, other = (situations()[name].context(PosteriorClassifier) for _ in range(2))
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = GALAXY().query(context, 5)
    assert message in caplog.text
    assert picks.tolist() == other.rng.permutation(other.unlabeled)[:5].tolist()
