import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.strategies import STRATEGIES, _fisher, _fisher_pool, bait
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.errors import UserError


def context_of(name="ordinary", **options):
    return situations()[name].context(PosteriorClassifier, **options)


def factors(p, h, expectation, c):
    """V of every item, one by one. Shape: (n, c, C · d)."""
    result = []
    for q, x in zip(p, h, strict=True):
        if expectation == "binary":
            result.append([np.sqrt(q.max() * (1 - q.max())) * x])
        else:
            top = np.argsort(-q, kind="stable")[:c]
            result.append([np.sqrt(q[y]) * np.kron(np.eye(len(q))[y] - q, x) for y in top])
    return np.array(result)


def brute_force(
    context, n, expectation="binary", c=2, form="scale_free", ridge=None, oversample=2.0
):
    """Every candidate's trace from its own inverse, in float64."""
    classifier, x = context.classifier, context.features.double()
    if form == "scale_free":
        x = torch.nn.functional.normalize(x, dim=1)  # as the classifier does
    labeled, unlabeled = (torch.from_numpy(i) for i in (context.labeled, context.unlabeled))

    def of(rows):
        p = classifier.probabilities(context.features[rows]).numpy()
        return factors(p, x[rows].numpy(), expectation, c)

    known, v = of(labeled), of(unlabeled)
    everything = np.concatenate([known, v])
    fisher = np.mean([f.T @ f for f in everything], axis=0)
    total = len(known) + n
    ridge = (1.0 if form == "paper" else 0.05) if ridge is None else ridge
    ridge *= np.trace(fisher) if form == "scale_free" else 1.0
    matrix = ridge * np.eye(v.shape[2])
    matrix += np.mean([f.T @ f for f in known], axis=0) * len(known) / total
    v = v * np.sqrt(n / total)

    def trace(m):
        return np.trace(np.linalg.solve(m, fisher))

    picks = []
    for _ in range(min(len(v), int(oversample * n))):
        rest = [i for i in range(len(v)) if i not in picks]
        best = rest[int(np.argmin([trace(matrix + v[i].T @ v[i]) for i in rest]))]
        matrix = matrix + v[best].T @ v[best]
        picks.append(best)
    while len(picks) > n:
        worst = picks[int(np.argmin([trace(matrix - v[i].T @ v[i]) for i in picks]))]
        matrix = matrix - v[worst].T @ v[worst]
        picks.remove(worst)
    return context.unlabeled[picks].tolist()


@pytest.mark.parametrize(
    "situation", ["ordinary", "one class seen", "two classes", "half precision"]
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ridge": 0.01},
        {"form": "paper"},
        {"form": "paper", "ridge": 0.01},
        {"oversample": 1.0},
        {"expectation": "top_c"},
        {"form": "paper", "expectation": "top_c"},
        {"expectation": "top_c", "top_classes": 3, "ridge": 0.1},
    ],
)
def test_picks_equal_brute_force(situation, options):
    known = {name: value for name, value in options.items() if name != "top_classes"}
    c = min(options.get("top_classes", 2), context_of(situation).num_classes)
    expected = brute_force(context_of(situation), 7, c=c, **known)
    picks = STRATEGIES.build("bait", **options).query(context_of(situation), 7)
    assert picks.tolist() == expected


@pytest.mark.parametrize("situation", ["ordinary", "duplicates", "half precision"])
@pytest.mark.parametrize(
    "options", [{}, {"ridge": 0.01}, {"form": "paper", "ridge": 0.01}, {"expectation": "top_c"}]
)
def test_picks_of_a_working_set_equal_those_of_all(situation, options, monkeypatch):
    """Of 50 items 16 are looked at, and all others followed in float32."""
    strategy = STRATEGIES.build("bait", **options)
    expected = strategy.query(context_of(situation), 15)
    monkeypatch.setattr(_fisher_pool, "WORKING", 0)
    assert strategy.query(context_of(situation), 15).tolist() == expected.tolist()
    monkeypatch.setattr(_fisher_pool, "FIRST", 30)  # no block of picks can be made by 16 items
    assert strategy.query(context_of(situation), 15).tolist() == expected.tolist()


@pytest.mark.parametrize("rounding", [1e-4, 1.0])
def test_rough_products_of_float32_are_measured_again(rounding, monkeypatch):
    expected = STRATEGIES.build("bait").query(context_of(), 15)
    monkeypatch.setattr(_fisher_pool, "WORKING", 0)
    monkeypatch.setattr(_fisher_pool, "ROUNDED", rounding)
    assert STRATEGIES.build("bait").query(context_of(), 15).tolist() == expected.tolist()


def test_float32_follows_the_forms():
    context = context_of()
    factors = bait.LastLayer(context, context.unlabeled, torch.full((50, 1, 1), 0.4).double())
    v = factors.rows(torch.arange(50))
    fisher = v.flatten(0, 1).T @ v.flatten(0, 1) / 50
    inverse = torch.eye(8).double()
    forms = _fisher_pool.Forms.of(factors, inverse, fisher, 2**20)
    steps, greedy = forms.choose(torch.arange(50), inverse, fisher, 12)
    after, found, first = forms.after(steps, torch.zeros(50, dtype=torch.bool))
    assert len(found) == 0
    assert first == 12
    for approximate, matrix, error in zip(
        (after.small, after.large),
        (greedy.inverse, greedy.inverse @ fisher @ greedy.inverse),
        after.errors,
        strict=True,
    ):
        exact = v @ matrix @ v.mT
        assert ((approximate - exact).abs().flatten() <= error * factors.norms).all()


def test_rough_updates_are_measured_again(monkeypatch):
    """Updates with large errors cost time, not correctness."""
    expected = STRATEGIES.build("bait").query(context_of(), 10)
    monkeypatch.setitem(_fisher.ROUNDING, torch.float64, 1e-2)
    assert STRATEGIES.build("bait").query(context_of(), 10).tolist() == expected.tolist()


def test_forms_follow_the_picks():
    rng = np.random.default_rng(0)
    v = torch.from_numpy(rng.normal(size=(30, 2, 6)))
    matrix = torch.eye(6).double()
    fisher = v.flatten(0, 1).T @ v.flatten(0, 1) / 30
    for sign, start in ((1, matrix), (-1, matrix + 30 * fisher)):
        greedy = _fisher.Greedy(_fisher.Explicit(v), _fisher.invert(start), fisher, sign, 2**20)
        current = start.clone()
        for _ in range(10):
            item = v[greedy.take()]
            current += sign * item.T @ item
            a = _fisher.invert(current)
            torch.testing.assert_close(greedy.inverse, a, rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(greedy._small, v @ a @ v.mT, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(
                greedy._large, v @ (a @ fisher @ a) @ v.mT, rtol=1e-7, atol=1e-9
            )


def test_order_of_the_pool_does_not_matter():
    context = context_of()
    expected = context.features[STRATEGIES.build("bait").query(context, 8)]
    situation = situations()["ordinary"]
    reverse = torch.arange(59, -1, -1)
    turned = replace(
        situation,
        features=situation.features[reverse],
        labeled=tuple(59 - i for i in situation.labeled),
    )
    context = turned.context(PosteriorClassifier)
    found = context.features[STRATEGIES.build("bait").query(context, 8)]
    assert torch.equal(found, expected)


def test_duplicates_go_to_the_lowest_index():
    context = context_of("all equal")
    assert STRATEGIES.build("bait", oversample=1).query(context, 5).tolist() == [0, 1, 2, 5, 6]


@pytest.mark.parametrize("option", ["oversample", "ridge"])
def test_huge_numbers_are_numbers(option):
    assert len(set(STRATEGIES.build("bait", **{option: 1e308}).query(context_of(), 7))) == 7


def test_top_c_of_many_candidates_draws_some_and_says_so(caplog):
    strategy = STRATEGIES.build("bait", expectation="top_c", max_items=20)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = strategy.query(context_of(), 10)
    assert len(set(picks)) == 10
    assert "bait: items are chosen from 20 of 50 items (max_items)" in caplog.text


def test_top_c_of_wide_matrices_is_refused(monkeypatch):
    monkeypatch.setattr(bait, "MAX_WIDTH", 23)
    with pytest.raises(UserError, match=r"C · d = 24; at most 23.*expectation='binary'"):
        STRATEGIES.build("bait", expectation="top_c").query(context_of(), 3)


@pytest.mark.parametrize("scale", [1e-3, 1e8, 1e18])
@pytest.mark.parametrize("options", [{}, {"expectation": "top_c"}])
@pytest.mark.parametrize("normalize", [True, False])
def test_scale_of_the_features_does_not_matter(scale, options, normalize):
    """Where the classifier predicts the same: it ignores it, or its weights make up for it."""

    class Scaled:
        num_classes = 3

        def __init__(self, factor):
            head = LinearClassifier(3, normalize=normalize)
            self.factor, self.head = (
                1.0 if normalize else factor,
                head.fit(x[rows], context_of().labels),
            )

        def logits(self, features):
            return self.head.logits(features.double() / self.factor)

    x, rows = context_of().features, context_of().labeled
    plain = replace(context_of(), classifier=Scaled(1.0))
    scaled = replace(context_of(), features=x * scale, classifier=Scaled(scale))
    strategy = STRATEGIES.build("bait", **options)
    assert strategy.query(scaled, 8).tolist() == strategy.query(plain, 8).tolist()


@pytest.mark.parametrize("classifier", ["linear", "laplace", "ensemble"])
def test_length_of_single_items_does_not_matter_where_the_classifier_ignores_it(classifier):
    context = context_of()
    head = CLASSIFIERS.build(classifier, num_classes=3)
    head.fit(context.features[context.labeled], context.labels)
    lengths = 2.0 ** torch.arange(60).remainder(7)[:, None]
    picks = [
        STRATEGIES.build("bait").query(replace(context, features=x, classifier=head), 8).tolist()
        for x in (context.features, context.features * lengths)
    ]
    assert picks[0] == picks[1]


def test_a_ridge_lost_in_rounding_errors_is_refused():
    """Cholesky's LinAlgError was all that a user saw."""
    context = context_of()
    context.features.mul_(1e9)
    with pytest.raises(UserError, match=r"ridge=1 of bait.*tr F = .*form='scale_free'"):
        STRATEGIES.build("bait", form="paper").query(context, 5)
    assert len(STRATEGIES.build("bait").query(context, 5)) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "exact"}, "form='exact': choose one of scale_free, paper"),
        ({"ridge": float("nan")}, "ridge=nan"),
        ({"max_items": 0}, "max_items=0"),
        ({"expectation": "exact"}, "expectation='exact'.*binary, top_c"),
        ({"ridge": 0.0}, "ridge=0.0"),
        ({"oversample": 0.5}, "oversample=0.5"),
        ({"top_classes": 0}, "top_classes=0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        STRATEGIES.build("bait", **options)


def test_features_must_be_finite():
    context = context_of()
    context.features[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        STRATEGIES.build("bait").query(context, 3)


def test_cold_start_is_random_and_logged(caplog):
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build("bait").query(context_of("cold start"), 5)
    assert picks.tolist() == STRATEGIES.build("random").query(context_of("cold start"), 5).tolist()
    assert "Bait needs a classifier" in caplog.text
