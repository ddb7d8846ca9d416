import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies import activeft
from dal_toolbox.active_learning.strategies.activeft import (
    ActiveFT,
    attraction,
    distances_to_fixed,
    nearest_distinct,
    repulsion,
)


def loss(x, fixed, points, temperature):
    """The objective as it is written, cosine by cosine."""
    theta = F.normalize(torch.cat([fixed, points]), dim=1)
    attract = -(x @ theta.T).amax(dim=1).mean() / temperature
    if len(theta) == 1:
        return attract
    similar = theta @ theta.T / temperature
    others = ~torch.eye(len(theta), dtype=torch.bool)
    rows = [similar[j][others[j]].logsumexp(0) for j in range(len(fixed), len(theta))]
    return attract + torch.stack(rows).mean()


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(("num_fixed", "num_points"), [(0, 1), (0, 6), (3, 1), (3, 6)])
@pytest.mark.parametrize("entries", [8, 2**20])
def test_gradient_is_that_of_the_objective(num_fixed, num_points, entries, monkeypatch):
    monkeypatch.setattr(activeft, "ENTRIES", entries)
    rng = np.random.default_rng(0)
    x, fixed, points = unit(rng, 40, 5), unit(rng, num_fixed, 5), unit(rng, num_points, 5)
    x, fixed, points = (torch.from_numpy(values) for values in (x, fixed, points))
    theta = points.clone().requires_grad_()
    loss(x, fixed, theta, 0.3).backward()
    to_fixed = distances_to_fixed(x, fixed, torch.full((40,), torch.nan).double(), torch.arange(40))
    gradient = (attraction(x, points, to_fixed) + repulsion(fixed, points, 0.3)) / 0.3
    gradient -= (gradient * points).sum(1, keepdims=True) * points
    np.testing.assert_allclose(gradient, theta.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("labeled", [(), (0, 7)])
def test_points_equal_those_of_autograd_and_adam(labeled):
    features, targets = blobs(60)
    context = Situation(features, labeled, tuple(targets[list(labeled)].tolist())).context(
        PosteriorClassifier
    )
    x = F.normalize(features, dim=1).double()
    start = x[[3, 20, 41, 55]]
    theta = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([theta], lr=1e-2)
    for _ in range(50):
        optimizer.zero_grad()
        loss(x, x[list(labeled)], theta, 0.07).backward()
        optimizer.step()
        theta.data = F.normalize(theta.data, dim=1)
    moved = ActiveFT(num_iterations=50, learning_rate=1e-2).move(context, start)
    np.testing.assert_allclose(moved, theta.detach().numpy(), atol=1e-6)


def naive_nearest(x, points, unlabeled):
    picks = []
    for point in points:
        squared = ((x[unlabeled] - point) ** 2).sum(1)
        order = unlabeled[np.lexsort((unlabeled, np.sqrt(squared).astype(np.float32)))]
        picks.append(next(int(i) for i in order if i not in picks))
    return picks


@pytest.mark.parametrize("n", [1, 9, 50])
@pytest.mark.parametrize("block", [7, 2**16])
def test_nearest_distinct_equals_naive(n, block, monkeypatch):
    monkeypatch.setattr(activeft, "BLOCK", block)
    features, targets = blobs(60)
    situation = Situation(features, tuple(range(10)), tuple(targets[:10].tolist()))
    context = situation.context(PosteriorClassifier)
    rng = np.random.default_rng(0)
    points = unit(rng, 3, 8)[rng.integers(3, size=n)].astype(np.float32)  # many want the same item
    x = context.normalized.double().numpy()
    expected = naive_nearest(x, points.astype(float), context.unlabeled)
    assert nearest_distinct(context, torch.from_numpy(points)).tolist() == expected


def test_distances_to_fixed_points_are_computed_once():
    rng = np.random.default_rng(0)
    x, fixed = (torch.from_numpy(unit(rng, size, 5)) for size in (40, 3))
    rows = torch.arange(0, 80, 2)  # of 80 items
    known = torch.full((80,), torch.nan, dtype=torch.float64)
    known[10] = 7.0
    expected = torch.cdist(x, fixed).amin(dim=1).square()
    expected[5] = 7.0
    found = distances_to_fixed(x, fixed, known, rows)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert known[1::2].isnan().all()
    assert torch.equal(known[rows], found)


def test_objective_falls():
    features, _ = blobs(200)
    context = Situation(features).context(PosteriorClassifier)
    x = context.normalized.double()
    start = x[torch.arange(12)]
    moved = ActiveFT().move(context, start)
    empty = x[:0]
    assert loss(x, empty, moved, 0.07) < loss(x, empty, start, 0.07) - 1


def test_large_pools_are_seen_in_part_and_covered_as_well(caplog):
    context = Situation(blobs(900)[0]).context(PosteriorClassifier)
    x = context.normalized.double()
    start, empty = x[:5], x[:0]
    options = {"learning_rate": 1e-2, "temperature": 0.3}
    whole = ActiveFT(**options).move(context, start)
    assert "an iteration sees" not in caplog.text
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        part = ActiveFT(batch_size=300, **options).move(context, start)
    assert "an iteration sees 300 of 900 items" in caplog.text
    before, best, reached = (float(loss(x, empty, p, 0.3)) for p in (start, whole, part))
    assert reached - best < 0.05 * (before - best)


def test_bad_arguments():
    with pytest.raises(ValueError, match="temperature=0"):
        ActiveFT(temperature=0)
