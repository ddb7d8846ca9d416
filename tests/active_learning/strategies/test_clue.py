import logging

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies import _cluster_pick, clue
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick
from dal_toolbox.active_learning.strategies.clue import CLUE
from dal_toolbox.neighbors import kmeans, unit_norm
from dal_toolbox.seeding import generator


def entropies(context, temperature):
    logits = context.logits.double().numpy() / temperature
    values = []
    for row in logits:
        p = np.exp(row - row.max())
        p /= p.sum()
        values.append(-sum(q * np.log(q) for q in p if q > 0))
    return np.array(values)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_weights_are_entropies(temperature, monkeypatch):
    seen = []

    def remember(context, candidates, n, *, weights, redo):
        seen.append(weights)
        return cluster_pick(context, candidates, n, weights=weights, redo=redo)

    monkeypatch.setattr(clue, "cluster_pick", remember)
    context = situations()["ordinary"].context(PosteriorClassifier)
    CLUE(temperature=temperature).query(context, 5)
    np.testing.assert_allclose(seen[0], entropies(context, temperature), rtol=1e-6, atol=1e-12)


def test_picks_are_those_of_weighted_clusters():
    context = situations()["ordinary"].context(PosteriorClassifier)
    weights = entropies(context, 1.0).astype(np.float32).astype(float)
    fresh = situations()["ordinary"].context(PosteriorClassifier)
    expected = cluster_pick(fresh, fresh.unlabeled, 6, weights=weights, redo=10)
    again = situations()["ordinary"].context(PosteriorClassifier)
    assert CLUE().query(again, 6).tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["cold start", "certain predictions"])
def test_without_weights_all_items_weigh_the_same(name, caplog):
    context = situations()[name].context(PosteriorClassifier)
    expected = cluster_pick(context, context.unlabeled, 5, redo=10)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = CLUE().query(situations()[name].context(PosteriorClassifier), 5)
    assert picks.tolist() == expected.tolist()
    assert "weigh the same" in caplog.text


def test_low_temperature_moves_picks_to_uncertain_items():
    features, targets = blobs(300)
    situation = Situation(features, tuple(range(30)), tuple(targets[:30].tolist()))
    context = situation.context(PosteriorClassifier)
    uncertain = entropies(context, 1.0)
    means = {}
    for temperature in (0.2, 100.0):
        picks = CLUE(temperature=temperature).query(situation.context(PosteriorClassifier), 10)
        means[temperature] = uncertain[np.searchsorted(context.unlabeled, picks)].mean()
    assert means[0.2] > means[100.0]


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature=0"):
        CLUE(temperature=0)


@pytest.mark.parametrize("seed", range(3))
def test_small_pools_get_the_best_of_ten_starts(seed, monkeypatch):
    inertia = []

    def remember(*args, **options):
        found = kmeans(*args, **options)
        inertia.append(found.inertia)
        return found

    x, y = blobs(400, num_classes=12)
    labeled = tuple(range(20)), tuple(y[:20].tolist())
    context = Situation(x, *labeled, num_classes=12).context(PosteriorClassifier, seed=seed)
    monkeypatch.setattr(_cluster_pick, "kmeans", remember)
    CLUE().query(context, 20)
    rows = unit_norm(x)[torch.from_numpy(context.unlabeled)]
    weights = torch.from_numpy(entropies(context, 1.0))
    once = [kmeans(rows, 20, rng=generator(i, "start"), weights=weights).inertia for i in range(10)]
    assert inertia[0] <= sorted(once)[4]
