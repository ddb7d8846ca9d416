import logging
from itertools import product

import numpy as np
import pytest
import torch

from dal_toolbox.active_learning._situations import PosteriorClassifier, situations
from dal_toolbox.active_learning.context import QueryContext
from dal_toolbox.active_learning.pool import Pool
from dal_toolbox.active_learning.strategies import STRATEGIES
from dal_toolbox.active_learning.strategies.batchbald import Joint, _systematic
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.errors import UserError
from dal_toolbox.seeding import generator


class Given:
    """Samples (N, C, M) are given; the only feature is the position."""

    def __init__(self, table):
        self.table = table
        self.num_classes = table.shape[1]

    def fit(self, features, labels):
        return self

    def logits(self, features):
        return self.table[features[:, 0].long()].mean(2).log().float()

    def probabilities(self, features):
        return self.logits(features).double().softmax(1)

    def samples(self, features, rng):
        return self.table[features[:, 0].long()]


def context_with(table, seed=0):
    n = len(table)
    return QueryContext(
        features=torch.arange(n + 1.0)[:, None],
        pool=Pool.from_history(n + 1, [np.array([n])]),
        labels=torch.zeros(1, dtype=torch.int64),
        num_classes=table.shape[1],
        rng=generator(seed, "batchbald"),
        classifier=Given(torch.cat([table, table[:1]])),
    )


def random_table(n, C=3, M=12, seed=0):
    rng = generator(seed, "table")
    return torch.from_numpy(rng.dirichlet(np.full(C, 0.4), size=(n, M))).transpose(1, 2)


def joint_information(table, batch):
    """I(y₁, …, y_b; θ) = H(y) − E H(y | θ), all labels enumerated."""
    p = table.numpy()
    M = p.shape[2]
    total = 0.0
    for labels in product(range(p.shape[1]), repeat=len(batch)):
        each = np.ones(M)
        for item, label in zip(batch, labels, strict=True):
            each = each * p[item, label]
        mean = each.mean()
        total -= mean * np.log(mean)
        total += (each * np.log(each)).sum() / M
    return total


def greedy(table, n):
    batch = []
    for _ in range(n):
        rest = [i for i in range(len(table)) if i not in batch]
        batch.append(rest[int(np.argmax([joint_information(table, [*batch, i]) for i in rest]))])
    return batch


@pytest.mark.parametrize("seed", range(3))
def test_picks_equal_brute_force(seed):
    table = random_table(60, seed=seed)
    picks = STRATEGIES.build("batchbald").query(context_with(table), 5)
    assert picks.tolist() == greedy(table, 5)


def test_gains_add_up_to_the_joint_information():
    table = random_table(8)
    joint, total = Joint.prior(table[0]), 0.0
    for item in range(5):
        total += float(joint.gains(table[item : item + 1]))
        joint = joint.extended(table[item], 10**6, generator(0))
        assert total == pytest.approx(joint_information(table, range(item + 1)), abs=1e-8)
    assert not joint.sampled
    assert len(joint.weights) == 3**5


def test_sampled_gains_are_near_the_exact_ones():
    table = random_table(30)
    sampled = resampled(table, 6, 100, 0)
    assert sampled.sampled
    assert len(sampled.weights) == 100
    expected = resampled(table, 6, 10**6, 0).gains(table[6:])
    found = torch.stack([resampled(table, 6, 100, seed).gains(table[6:]) for seed in range(40)])
    error = found.mean(0) - expected
    assert (error.abs() < 5 * found.std(0) / 40**0.5 + 1e-9).all()  # unbiased
    assert found.std(0).max() < 0.25 * expected.max()


def resampled(table, size, limit, seed):
    rng = generator(seed, "resampled")
    joint = Joint.prior(table[0])
    for item in range(size):
        joint = joint.extended(table[item], limit, rng)
    return joint


def test_large_batches_sample_and_say_so(caplog):
    strategy = STRATEGIES.build("batchbald", max_configurations=60)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = strategy.query(context_with(random_table(80)), 30)
    assert len(set(picks)) == 30
    assert caplog.text.count("joint labels are sampled, 20 of") == 1


def test_a_copy_of_a_pick_waits():
    """BALD takes copies of its best item; BatchBALD takes them late, as they tell little more."""
    sure = torch.eye(4).double().repeat(1, 2)[None]  # (1, 4, 8): a label reveals two bits of θ
    half = torch.tensor([[0.9] * 4 + [0.1] * 4, [0.1] * 4 + [0.9] * 4]).double()
    other = torch.cat([half / 2, half / 2])[None]
    flat = torch.full((1, 4, 8), 0.25).double()
    table = torch.cat([sure, sure, sure, other, flat])
    picks = STRATEGIES.build("batchbald").query(context_with(table), 2)
    assert picks.tolist() == [0, 3]
    assert set(STRATEGIES.build("bald").query(context_with(table), 2)) <= {0, 1, 2}


def test_ties_go_to_the_lowest_index():
    table = random_table(1).repeat(20, 1, 1)
    assert STRATEGIES.build("batchbald").query(context_with(table), 20).tolist() == list(range(20))


def test_systematic_resampling_is_even():
    weights = torch.tensor([0.0, 0.3, 0.0, 0.05, 0.65, 0.0]).double()
    found = _systematic(weights, 100, generator(0))
    counts = torch.bincount(found, minlength=6)
    assert (counts - 100 * weights).abs().max() <= 1
    assert counts[[0, 2, 5]].sum() == 0


def test_certain_labels_have_no_empty_configurations():
    table = torch.zeros(6, 3, 4).double()
    table[:, 1] = 1
    assert STRATEGIES.build("batchbald").query(context_with(table), 6).tolist() == list(range(6))


@pytest.mark.parametrize("classifier", ["laplace", "ensemble", "mc_dropout"])
def test_works_with_every_posterior(classifier):
    context = situations()["ordinary"].context(CLASSIFIERS[classifier])
    assert len(set(STRATEGIES.build("batchbald").query(context, 8))) == 8


def test_classifiers_without_posterior_are_refused_and_others_named():
    context = situations()["ordinary"].context(CLASSIFIERS["linear"])
    with pytest.raises(UserError, match="no posterior.*ensemble.*laplace.*mc_dropout"):
        STRATEGIES.build("batchbald").query(context, 3)


def test_cold_start_is_random_and_logged(caplog):
    situation = situations()["cold start"]
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        picks = STRATEGIES.build("batchbald").query(situation.context(PosteriorClassifier), 5)
    random = STRATEGIES.build("random").query(situation.context(PosteriorClassifier), 5)
    assert picks.tolist() == random.tolist()
    assert "BatchBALD needs a classifier" in caplog.text
