import logging
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES, falcun
from dal_toolbox.active_learning.strategies._l1_distances import Distances, predictions
from dal_toolbox.seeding import generator


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


def uncertainty(p):
    top = np.sort(p, axis=1)
    return 1 - (top[:, -1] - top[:, -2])


def probabilities_of_next(p, picks, gamma):
    """Straight from the formula, over all items; 0 for picks."""
    u = uncertainty(p)
    d = u.copy()
    for pick in picks:
        d = np.minimum(d, np.abs(p - p[pick]).sum(1))
    free = np.setdiff1d(np.arange(len(p)), picks)
    low, high = d[free].min(), d[free].max()
    scaled = (d - low) / (high - low) if high > low else np.zeros(len(p))
    weights = np.zeros(len(p))
    weights[free] = (u + scaled)[free] ** gamma
    return (
        weights / weights.sum() if weights.any() else np.isin(np.arange(len(p)), free) / len(free)
    )


def test_uncertainty_of_certain_predictions_loses_no_digit():
    logits = torch.tensor([[0.0, 40.0, 3.0], [1.0, 1.0, 1.0], [0.0, 160.0, 100.0]])
    p, uncertain = predictions(logits)
    exact = logits.double().softmax(1)
    torch.testing.assert_close(p.double(), exact, rtol=1e-6, atol=1e-30)
    expected = torch.tensor([2 * np.exp(-37.0) + np.exp(-40.0), 1.0, 2 * np.exp(-60.0)])
    torch.testing.assert_close(uncertain, expected, rtol=1e-5, atol=0, check_dtype=False)


def random_p(n, C=3, seed=0):
    return generator(seed, "p").dirichlet(np.full(C, 0.6), size=n)


def distances_of(p, chunk_bytes=2**20):
    return Distances(torch.from_numpy(p), uncertainty(p), chunk_bytes)


@pytest.mark.parametrize("C", [2, 3, 10])
def test_extremes_equal_the_formula_after_every_pick(C):
    p = random_p(300, C)
    p[100:200] = p[:100]  # duplicates
    distances = distances_of(p, chunk_bytes=2**12)
    rng = generator(C, "picks")
    d = uncertainty(p)
    for _ in range(120):
        free = np.flatnonzero(distances.free)
        np.testing.assert_allclose(distances.extremes(), (d[free].min(), d[free].max()), atol=1e-12)
        lowest = free[d[free].argmin()]  # at times the one that decides
        pick = int(lowest if rng.random() < 0.2 else rng.choice(free))
        distances.take(pick)
        d = np.minimum(d, np.abs(p - p[pick]).sum(1))
    distances.measure(np.flatnonzero(distances.free))
    np.testing.assert_allclose(distances.values[distances.free], d[distances.free], atol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 10.0])
@pytest.mark.parametrize("patience", [1, 1000])
def test_sequences_have_the_probabilities_of_the_formula(gamma, patience, monkeypatch):
    monkeypatch.setattr(falcun, "PATIENCE", patience)
    p = random_p(5, seed=3)
    expected = {}
    for sequence in permutations(range(5), 3):
        probability = 1.0
        for at, item in enumerate(sequence):
            probability *= probabilities_of_next(p, list(sequence[:at]), gamma)[item]
        expected[sequence] = probability
    assert sum(expected.values()) == pytest.approx(1)
    strategy = STRATEGIES.build("falcun", gamma=gamma)
    counts, rng, total = dict.fromkeys(expected, 0), generator(0, "falcun"), 800
    for _ in range(total):
        distances = distances_of(p)
        counts[tuple(strategy.draw(distances, 3, rng))] += 1
    many = [s for s in expected if expected[s] * total >= 5]
    observed = np.array([*(counts[s] for s in many), total - sum(counts[s] for s in many)])
    theory = total * np.array([expected[s] for s in many])
    theory = np.append(theory, total - theory.sum())
    keep = theory > 1e-6
    assert chisquare(observed[keep], theory[keep]).pvalue > 1e-3


def test_query_uses_the_probabilities_of_the_context():
    context = context_of("ordinary")
    p = context.probabilities.numpy()
    expected = probabilities_of_next(p, [], 10.0)
    counts = np.zeros(len(p))
    for seed in range(500):
        context = context_of("ordinary", seed=seed)
        pick = STRATEGIES.build("falcun").query(context, 1)
        counts[np.searchsorted(context.unlabeled, pick)] += 1
    groups = np.array_split(np.argsort(-expected), 8)
    theory = np.array([500 * expected[group].sum() for group in groups])
    observed = np.array([counts[group].sum() for group in groups])
    likely = theory >= 5
    theory = np.append(theory[likely], theory[~likely].sum())
    observed = np.append(observed[likely], observed[~likely].sum())
    assert chisquare(observed, theory).pvalue > 1e-3


def test_certain_predictions_are_drawn_uniformly():
    counts = np.zeros(60)
    for seed in range(200):
        counts[
            STRATEGIES.build("falcun").query(context_of("certain predictions", seed=seed), 10)
        ] += 1
    assert abs(counts[:50] - 40).max() < 6 * np.sqrt(40)


def test_cold_start_is_random_and_logged(caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build("falcun").query(context_of("cold start"), 5)
    assert picks.tolist() == STRATEGIES.build("random").query(context_of("cold start"), 5).tolist()
    assert "Falcun needs a classifier" in caplog.text


def test_gamma_must_be_finite_and_not_negative():
    with pytest.raises(ValueError, match="gamma=-1"):
        STRATEGIES.build("falcun", gamma=-1)
