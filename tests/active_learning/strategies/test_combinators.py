"""Strategies made of strategies: subsample, switch, ensemble, tailor, refine."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning import Pool
from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.strategies._bases import query_part
from dal_toolbox.active_learning.strategies.ensemble import take_turns
from dal_toolbox.active_learning.strategies.refine import PUBLISHED
from dal_toolbox.active_learning.strategies.switch import coverage
from dal_toolbox.active_learning.strategies.tailor import Tailor

X, Y = blobs(300)


def context(labeled=range(12), seed=0):
    labeled = tuple(labeled)
    labels = tuple(int(Y[i]) for i in labeled)
    return Situation(X, labeled, labels).context(PosteriorClassifier, seed=seed)


def test_subsample_of_everything_is_the_base():
    whole = STRATEGIES.build("subsample", base="coreset", fraction=1.0).query(context(), 9)
    np.testing.assert_array_equal(whole, STRATEGIES.build("coreset").query(context(), 9))


@pytest.mark.parametrize(("options", "size"), [({"size": 20}, 20), ({"fraction": 0.5}, 144)])
def test_subsample_chooses_the_best_of_a_random_subset(options, size):
    picks = STRATEGIES.build("subsample", base="margin", **options).query(context(), 5)
    expected = context()
    subset = expected.rng.permutation(expected.unlabeled)[:size]
    np.testing.assert_array_equal(
        picks, STRATEGIES.build("margin").query(expected.restrict(subset), 5)
    )


def test_subsample_is_never_smaller_than_the_query():
    assert len(STRATEGIES.build("subsample", size=3).query(context(), 50)) == 50


@pytest.mark.parametrize(
    ("by", "threshold", "late"),
    [("cycle", 1, True), ("cycle", 2, False), ("labels", 12, True), ("labels", 13, False),
     ("labels_per_class", 4, True), ("labels_per_class", 4.1, False),
     ("coverage", 0.0, True), ("coverage", 1.1, False)],
)  # fmt: skip
def test_switch_goes_over_at_its_threshold(by, threshold, late):
    switch = STRATEGIES.build("switch", first="coreset", then="margin", by=by, threshold=threshold)
    same = STRATEGIES.build("margin" if late else "coreset").query(context(), 6)
    np.testing.assert_array_equal(switch.query(context(), 6), same)


def test_coverage_is_the_share_of_covered_items():
    now = context(labeled=(3, 30, 200))
    unit = torch.nn.functional.normalize(X.double(), dim=1)
    distances = torch.cdist(unit, unit[[3, 30, 200]]).amin(1)
    for radius in (0.1, 0.5, 1.0):
        assert coverage(now, radius) == pytest.approx(float((distances <= radius).double().mean()))
    assert coverage(context(labeled=()), 5.0) == 0


def test_members_of_an_ensemble_take_turns():
    picks = STRATEGIES.build("ensemble", strategies=("coreset", "margin")).query(context(), 8)
    wishes = [STRATEGIES.build(name).query(context(), 8) for name in ("coreset", "margin")]
    assert set(picks) <= set(wishes[0]) | set(wishes[1])
    assert picks[0] == wishes[0][0]
    np.testing.assert_array_equal(
        take_turns([np.array([1, 2, 3]), np.array([1, 2, 4])], np.array([0, 1, 1, 0])),
        [1, 2, 4, 3],
    )


def test_tailor_prefers_who_brings_the_rare_class():
    """Member 1 of 2 has found the rare class 1, member 0 only class 0."""
    tailor = Tailor(strategies=("random", "margin"), seed=1)
    history = [np.arange(4)]
    labels = np.array([0, 0, 0, 1])
    for cycle in range(12):
        turns = tailor.turns(history, labels, 10, num_classes=2)
        history.append(np.arange(10) + 10 * cycle + 4)
        labels = np.concatenate([labels, np.where(turns == 1, np.arange(10) % 2, 0)])
    assert np.mean(tailor.turns(history, labels, 2000, num_classes=2)) > 0.8
    again = Tailor(strategies=("random", "margin"), seed=1)
    np.testing.assert_array_equal(
        again.turns(history, labels, 50, 2), tailor.turns(history, labels, 50, 2)
    )


@pytest.mark.parametrize("base", ["typiclust", "maxherding", "coreset", "margin", "badge"])
def test_members_see_the_labeled_items_and_their_part_alone(base):
    whole = context()
    items = whole.unlabeled[::3]
    kept = np.sort(np.concatenate([whole.labeled, items]))
    alone = replace(
        whole,
        features=whole.features[kept],
        pool=Pool.from_history(len(kept), [np.searchsorted(kept, whole.labeled)]),
        rng=np.random.default_rng(5),
    )
    expected = kept[STRATEGIES.build(base).query(alone, 7)]
    found = query_part(
        STRATEGIES.build(base), replace(whole, rng=np.random.default_rng(5)), items, 7
    )
    np.testing.assert_array_equal(found, expected)


def test_refine_narrows_the_pool_to_what_its_members_chose():
    options = {"strategies": ("margin",), "final": "coreset", "num_levels": 1, "num_batches": 1}
    refine = STRATEGIES.build("refine", first_subset=288, **options)
    chosen = STRATEGIES.build("margin").query(context(), 10)  # the subset is everything
    np.testing.assert_array_equal(sorted(refine.query(context(), 10)), sorted(chosen))
    wide = STRATEGIES.build("refine", **{**options, "num_batches": 20, "num_levels": 3})
    assert len(set(wide.query(context(), 10))) == 10


def test_refine_names_the_published_members_it_lacks(caplog):
    small = {"num_levels": 1, "num_batches": 1, "first_subset": 20}
    with caplog.at_level("INFO", logger="dal_toolbox"):
        STRATEGIES.build("refine", **small).query(context(), 3)
    assert "refine: without bait, uncertainty_herding of the authors' nine" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", logger="dal_toolbox"):
        STRATEGIES.build("refine", strategies=PUBLISHED, **small).query(context(), 3)
    assert "without" not in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"num_levels": 0}, {"num_batches": -1}, {"first_subset": 0}, {"max_candidates": 0},
              {"alpha": 0.0}, {"alpha": float("nan")}, {"alpha": 1.5}, {"strategies": "margin"},
              {"strategies": 3}, {"final": None}, {"options": [1]}],
)  # fmt: skip
def test_impossible_arguments_of_refine_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name}="):
        STRATEGIES.build("refine", **wrong)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("subsample", {"fraction": 0.0}, "fraction=0.0"),
        ("subsample", {"base": "subsample"}, "cannot be made of itself"),
        ("subsample", {"base": "margn"}, "Did you mean 'margin'"),
        ("subsample", {"base": "typiclust", "base_options": {"k": 3}}, "unexpected keyword"),
        ("switch", {"by": "mood"}, "choose one of cycle"),
        ("ensemble", {"strategies": ()}, "at least one"),
        ("ensemble", {"options": {"coreset": {}}}, "^options=.*coreset not among"),
        ("refine", {"final": "refine"}, "cannot be made of itself"),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        STRATEGIES.build(name, **options)
