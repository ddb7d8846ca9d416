import logging

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES, _flips
from dal_toolbox.active_learning.strategies._flips import Items
from dal_toolbox.active_learning.strategies.ldm import LDM, SIGMAS, seeding
from dal_toolbox.seeding import generator


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


def inputs(name="ordinary"):
    context = context_of(name)
    x = context.normalized[torch.from_numpy(context.unlabeled)]
    return x, context.logits


def brute_force(x, logits, rng, k, max_draws):
    """Every perturbation meets every item, no item is spared."""
    rng.permutation(len(x))
    x, logits = x.double().numpy(), logits.double().numpy()
    before = logits.argmax(1)
    ldm = np.ones(len(x))
    for sigma in SIGMAS:
        for _ in range(max_draws // k):
            noise = rng.standard_normal((logits.shape[1], k, x.shape[1] + 1), np.float32)
            noise *= sigma
            old = ldm.copy()
            for j in range(k):
                flips = (logits + x @ noise[:, j, :-1].T + noise[:, j, -1]).argmax(1) != before
                ldm[flips] = np.minimum(ldm[flips], flips.mean())
            if np.array_equal(old, ldm):
                break
    return ldm


@pytest.mark.parametrize("name", ["ordinary", "two classes", "200 classes"])
def test_ldm_equals_brute_force(name):
    x, logits = inputs(name)
    found = LDM().least_disagreement(x, logits, generator(0))
    np.testing.assert_allclose(found, brute_force(x, logits, generator(0), 10, 100), atol=1e-12)
    assert ((found > 0) & (found <= 1)).all()


def test_ldm_grows_with_the_distance_to_the_boundary():
    x = torch.nn.functional.normalize(
        torch.randn(400, 5, generator=torch.Generator().manual_seed(0)), dim=1
    )
    logits = torch.stack([x[:, 0], -x[:, 0]], dim=1)
    found = LDM().least_disagreement(x, logits, generator(0))
    assert np.corrcoef(found.argsort().argsort(), x[:, 0].abs().argsort().argsort())[0, 1] > 0.95


def test_a_reference_estimates_the_share_of_disagreement():
    x, logits = inputs()
    alike = []
    for seed in range(5):
        everything = LDM().least_disagreement(x, logits, generator(seed))
        some = LDM(num_reference=25).least_disagreement(x, logits, generator(seed))
        alike.append(np.corrcoef(everything, some)[0, 1])
    assert np.median(alike) > 0.9


@pytest.mark.parametrize("unit", [2.0**-24, 1e-3])  # all is doubtful with the large one
@pytest.mark.parametrize("block", [2**19, 64])
@pytest.mark.parametrize("num_classes", [2, 3, 60])
def test_flips_equal_the_formula(unit, block, num_classes, monkeypatch):
    monkeypatch.setattr(_flips, "UNIT", unit)
    monkeypatch.setattr(_flips, "BLOCK", block)
    rng = generator(0, "flips")
    x = rng.standard_normal((80, 7))
    x = torch.from_numpy(x / np.linalg.norm(x, axis=1, keepdims=True)).float()
    logits = torch.from_numpy(rng.standard_normal((80, num_classes))).float()
    logits[:5] = 0  # all are equal
    items, rows = Items.of(x, logits), torch.arange(0, 80, 2)
    for sigma in (0.01, 0.1, 1.0):
        noise = torch.from_numpy(rng.standard_normal((num_classes, 4, 8), np.float32)) * sigma
        moved = torch.einsum("cjd,nd->njc", noise[..., :-1].double(), x[rows].double())
        moved += logits[rows, None].double() + noise[..., -1].T.double()
        expected = moved.argmax(dim=2) != logits[rows].argmax(dim=1)[:, None]
        for reach in (20 * sigma, float("inf")):
            assert torch.equal(items.flips(noise, rows, reach), expected)


def test_seeding_weights():
    ldm = np.array([0.3, 0.1, 0.2, 0.6, 0.2, 0.9])
    # rank 2 of 0.1, 0.2, 0.2, 0.3, … is 0.2; items of rank 2 and beyond share 2
    raw = np.exp(-np.maximum(ldm - 0.2, 0) / 0.2)
    others = np.array([4, 0, 3, 5])
    expected = raw.copy()
    expected[others] = np.minimum(1, raw[others] * 2 / raw[others].sum())
    np.testing.assert_allclose(seeding(ldm, 2), expected)


def test_seeding_weights_where_many_are_zero():
    ldm = np.array([0.0, 0.0, 0.0, 0.5, 0.7])
    found = seeding(ldm, 1)
    assert np.isfinite(found).all()
    assert found[0] == 1
    assert seeding(np.zeros(5), 2).tolist() == [1, 1, *[pytest.approx(2 / 3)] * 3]


def test_picks_follow_the_formula(monkeypatch):
    ldm = np.linspace(0.1, 0.9, 50)
    monkeypatch.setattr(LDM, "least_disagreement", lambda *_: ldm)
    context = context_of()
    x = context.normalized[torch.from_numpy(context.unlabeled)].double().numpy()
    expected = (seeding(ldm, 2) * (1 - x @ x[0])) ** 2
    expected[0] = 0
    expected /= expected.sum()
    counts = np.zeros(50)
    for seed in range(600):
        context = context_of(seed=seed)
        picks = np.searchsorted(context.unlabeled, LDM().query(context, 2))
        assert picks[0] == 0
        counts[picks[1]] += 1
    groups = np.array_split(np.argsort(-expected), 12)
    theory = np.array([600 * expected[group].sum() for group in groups])
    observed = np.array([counts[group].sum() for group in groups])
    likely = theory >= 5
    theory = np.append(theory[likely], theory[~likely].sum())
    observed = np.append(observed[likely], observed[~likely].sum())
    assert chisquare(observed, theory).pvalue > 1e-3


def test_many_candidates_are_drawn_from_and_it_says_so(caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build("ldm", max_items=20).query(context_of(), 10)
    assert len(set(picks)) == 10
    assert "ldm: items are chosen from 20 of 50 items (max_items)" in caplog.text


def test_cold_start_is_random_and_logged(caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build("ldm").query(context_of("cold start"), 5)
    assert picks.tolist() == STRATEGIES.build("random").query(context_of("cold start"), 5).tolist()
    assert "LDM needs a classifier" in caplog.text


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="^patience=0.*at least 1"):
        STRATEGIES.build("ldm", patience=0)
