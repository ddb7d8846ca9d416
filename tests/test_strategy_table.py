"""docs/strategies.md and the facts it is made of."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning import Pool, QueryContext
from dal_toolbox.active_learning._situations import PosteriorClassifier, blobs
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.analysis import strategy_table
from dal_toolbox.analysis.strategy_table import (
    COSTS,
    FEATURES,
    MEMBERS,
    POSTERIOR,
    PREDICTIONS,
    citation,
    cost_of,
    needs_of,
    strategy_rows,
    summary_of,
    to_markdown,
)
from dal_toolbox.seeding import generator

ROOT = Path(__file__).resolve().parents[1]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = script("make_strategies")
OWN = make.own_strategies()
NEEDS = {name: needs_of(STRATEGIES[name]) for name in OWN}
PLAIN = [name for name in OWN if MEMBERS not in NEEDS[name]]


class Watched(PosteriorClassifier):
    """Notes what it is asked for."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.asked = set()

    def logits(self, features):
        self.asked.add(PREDICTIONS)
        return super().logits(features)

    def samples(self, features, rng):
        samples = super().samples(features, rng)
        self.asked.discard(PREDICTIONS)  # this class makes them of its logits
        self.asked.add(POSTERIOR)
        return samples


@pytest.fixture
def scenery():
    features, targets = blobs(80)
    labeled = np.arange(12)
    labels = torch.from_numpy(targets[:12])
    return features, labeled, labels


def context(features, labeled, labels, classifier):
    return QueryContext(
        features=features,
        pool=Pool.from_history(len(features), [labeled]),
        labels=labels,
        num_classes=3,
        rng=generator(0, "query"),
        classifier=classifier,
        cycle=1,
    )


@pytest.mark.parametrize("name", ["make_strategies", "make_selection"])
def test_pages_are_current(name):
    assert script(name).PAGE.read_text() == script(name).page(), f"run: python docs/{name}.py"


def test_no_fact_is_about_nothing():
    assert set(COSTS) <= set(OWN)


def test_every_row_is_complete():
    for row in strategy_rows(OWN):
        assert row.summary
        assert row.cost, f"{row.name}: no O(…) in its docstring; add one there"
        assert row.link.startswith("https://") == bool(row.authors)
    cited = {row.name for row in strategy_rows(OWN) if row.link}
    assert set(OWN) - cited == {"ensemble", "random", "random_cluster", "subsample"}


def test_no_cost_hides_a_docstring():
    for name in COSTS:
        own, module = strategy_table._documentation(STRATEGIES[name])
        assert not cost_of(own), f"{name} says its cost: remove it from COSTS"
        assert not cost_of(module), f"{name} says its cost: remove it from COSTS"


@pytest.mark.parametrize("name", PLAIN)
def test_needs_of_the_classifier_are_what_is_asked(name, scenery):
    features, labeled, labels = scenery
    classifier = Watched(3).fit(features[labeled], labels)
    STRATEGIES.build(name).query(context(features, labeled, labels, classifier), 4)
    assert classifier.asked == set(NEEDS[name]) & {PREDICTIONS, POSTERIOR}


@pytest.mark.parametrize("name", [name for name in PLAIN if FEATURES not in NEEDS[name]])
def test_without_a_need_for_features_only_predictions_count(name, scenery):
    features, labeled, labels = scenery
    head = PosteriorClassifier(3).fit(features[labeled], labels)

    class ByPosition(Watched):
        """Knows items by their place in the first column: the others are free to change."""

        def logits(self, rows):
            self.asked.add(PREDICTIONS)
            return head.logits(features[rows[:, 0].long()])

    picks = []
    for seed in (1, 2):
        rest = generator(seed, "rest").normal(size=(len(features), 7))
        rows = np.column_stack([np.arange(len(features)), rest]).astype(np.float32)
        classifier = ByPosition(3)
        seen = context(torch.from_numpy(rows), labeled, labels, classifier)
        picks.append(STRATEGIES.build(name).query(seen, 4).tolist())
    assert picks[0] == picks[1]


def test_groups_and_cold_start():
    rows = {row.name: row for row in strategy_rows(["random", "margin", "typiclust", "badge"])}
    groups = {name: row.group for name, row in rows.items()}
    assert groups == {
        "random": "random", "margin": "uncertainty", "typiclust": "coverage", "badge": "hybrid"
    }  # fmt: skip
    assert [rows[name].cold_start for name in groups] == ["works", "random", "works", "random"]


def test_parts_of_docstrings():
    assert summary_of("Takes p. 1.5 of\nall. Then more.\n\nRest.") == "Takes p. 1.5 of all"
    assert summary_of("Covers: greedily.") == "Covers: greedily"
    expected = ("Lewis & Gale, 1994", "https://arxiv.org/abs/cmp-lg/9407020")
    assert (
        citation("Sampling (Lewis & Gale, 1994,\nhttps://arxiv.org/abs/cmp-lg/9407020).")
        == expected
    )
    assert (
        citation("as in Hacohen et al. (2022, https://x.org/a_b-2), more")[1]
        == "https://x.org/a_b-2"
    )
    assert citation("Nobody (2020).") is None
    assert cost_of("O(N (C + d)), O(1). None") == "O(N (C + d)); O(1)"


def test_seconds_and_bars_in_a_table():
    (row,) = strategy_rows(["bait"])
    text = to_markdown([row], {"bait": 0.0123})
    assert text.splitlines()[-1].endswith("| 0.012 |")
    assert all(line.count(" | ") == 6 for line in text.splitlines())
