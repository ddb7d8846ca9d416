import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies import _balls, _purity
from dal_toolbox.active_learning.strategies._balls import BallCover, Balls
from dal_toolbox.active_learning.strategies._distances import Rows
from dal_toolbox.active_learning.strategies._purity import first_impure, pure_radius
from dal_toolbox.active_learning.strategies.probcover import ProbCover
from dal_toolbox.neighbors import kmeans
from dal_toolbox.seeding import generator


def distances_of(x):
    x = x.double().numpy()
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))


def reference(x, labeled, candidates, n, delta):
    """The published procedure on the whole matrix; stops where every ball is empty."""
    ball = distances_of(x) < delta
    covered = ball[labeled].any(axis=0)
    picks = []
    while len(picks) < n:
        degrees = (ball & ~covered)[candidates].sum(axis=1)
        if degrees.max() == 0:
            break
        picks.append(int(candidates[degrees.argmax()]))
        covered |= ball[picks[-1]]
    return picks


@pytest.mark.parametrize("labeled", [(), (3,), (0, 1, 2, 10, 11)])
@pytest.mark.parametrize("delta", [0.2, 0.5, 0.7])
def test_picks_equal_the_reference(labeled, delta):
    features, targets = blobs(150)
    situation = Situation(features, labeled, tuple(targets[list(labeled)].tolist()))
    context = situation.context(PosteriorClassifier)
    expected = reference(context.normalized, list(labeled), context.unlabeled, 20, delta)
    assert len(expected) > 1
    picks = ProbCover(delta=delta).query(context, 20)
    assert picks[: len(expected)].tolist() == expected


def test_candidates_cover_items_that_may_not_be_chosen():
    context = Situation(blobs(150)[0]).context(PosteriorClassifier)
    some = context.restrict(np.arange(0, 150, 3))
    expected = reference(context.normalized, [], some.unlabeled, 8, 0.6)
    assert ProbCover(delta=0.6).query(some, 8).tolist() == expected[:8]


def test_farthest_items_follow_when_all_is_covered(caplog):
    directions = F.normalize(
        torch.tensor([[1.0, 0], [1, 0.1], [1, 0.3], [-1, 0], [-1, 0.1]]), dim=1
    )
    context = Situation(directions).context(PosteriorClassifier)
    with caplog.at_level("INFO", logger="dal_toolbox"):
        picks = ProbCover(delta=0.5).query(context, 5)
    # The fullest ball first; at last those farthest from what is chosen.
    assert picks.tolist() == [0, 3, 2, 1, 4]
    assert "all is covered after 2 of 5 items" in caplog.text


def test_default_radius_is_logged_and_can_be_repeated(caplog):
    context = Situation(blobs(60)[0]).context(PosteriorClassifier)
    with caplog.at_level("INFO", logger="dal_toolbox"):
        picks = ProbCover().query(context, 5)
    delta = pure_radius(
        context.normalized, 3, 0.8, rng=generator(0, "situation"), chunk_bytes=2**22
    )
    assert f"probcover: delta={delta:.4g}" in caplog.text
    again = ProbCover(delta=delta).query(context, 5)
    assert picks.tolist() == again.tolist()


@pytest.mark.parametrize("delta", [3, 10**12, 1e308])
def test_a_huge_ball_holds_everything(delta):
    context = Situation(blobs(60)[0]).context(PosteriorClassifier)
    expected = ProbCover(delta=2.1).query(context, 5)
    assert ProbCover(delta=delta).query(context, 5).tolist() == expected.tolist()


def test_default_balls_hold_more_than_their_center():
    """At the published purity a third of the balls of digits are of one item."""
    x = F.normalize(torch.from_numpy(load_digits().data[:600] / 16).float(), dim=1)
    distances = distances_of(x)

    def alone(purity):
        delta = pure_radius(x, 10, purity, rng=generator(0, "test"), chunk_bytes=2**22)
        return ((distances < delta).sum(axis=1) == 1).mean()

    assert alone(0.95) > 0.2
    assert alone(ProbCover().purity) < 0.1


def test_a_limit_makes_a_random_subset(caplog):
    context = Situation(blobs(200)[0], (0, 5), (0, 1)).context(PosteriorClassifier)
    with caplog.at_level("INFO", logger="dal_toolbox"):
        picks = ProbCover(delta=0.4, max_items=50).query(context, 20)
    assert len(set(picks.tolist())) == 20
    assert "probcover: items are covered and chosen from 50 of 198 items (max_items)" in caplog.text


@pytest.mark.parametrize("clusters", [1, 2, 7, 60])
@pytest.mark.parametrize("tile", [(512, 1024), (32, 50)])
@pytest.mark.parametrize("d", [8, 100])
def test_first_impure_neighbor_equals_brute_force(clusters, tile, d, monkeypatch):
    monkeypatch.setattr(_purity, "HEIGHT", tile[0])
    monkeypatch.setattr(_purity, "WIDTH", tile[1])
    x = F.normalize(blobs(60)[0], dim=1) if d == 8 else flat(60, d)
    labels = torch.from_numpy(generator(0, "test").integers(clusters, size=60))
    queries = torch.arange(0, 60, 2)
    distances = distances_of(x)
    distances[labels[:, None].numpy() == labels.numpy()] = np.inf
    expected = distances.min(axis=1)[::2]
    found = first_impure(x, labels, queries, chunk_bytes=2**20)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    for rank in (0, 3, 29):
        found = first_impure(x, labels, queries, rank=rank, chunk_bytes=2**20).sort().values
        np.testing.assert_allclose(found[: rank + 1], np.sort(expected)[: rank + 1], rtol=1e-6)


@pytest.mark.parametrize("purity", [0.5, 0.9, 0.95, 1.0])
def test_radius_is_the_largest_with_the_purity(purity):
    x = F.normalize(blobs(200)[0], dim=1)
    delta = pure_radius(x, 5, purity, rng=generator(1, "test"), chunk_bytes=2**22)
    labels = kmeans(
        x, 5, rng=generator(1, "test"), max_points_per_centroid=10_000, chunk_bytes=2**22
    ).assignments.numpy()
    distances, other = distances_of(x), labels[:, None] != labels

    def share(radius):
        return 1 - ((distances < radius) & other).any(axis=1).mean()

    assert share(delta) >= purity
    assert share(delta * (1 + 1e-6)) < purity


def test_radius_without_another_cluster_is_the_widest():
    x = torch.ones(10, 3)
    assert pure_radius(x, 4, 0.95, rng=generator(0), chunk_bytes=2**22) == 2.0


def test_radius_of_a_sample_is_near(monkeypatch, caplog):
    x = F.normalize(blobs(2000)[0], dim=1)
    exact = pure_radius(x, 5, 0.9, rng=generator(1, "test"), chunk_bytes=2**22)
    monkeypatch.setattr(_purity, "QUERIES", 500)
    with caplog.at_level("INFO", logger="dal_toolbox"):
        sampled = pure_radius(x, 5, 0.9, rng=generator(1, "test"), chunk_bytes=2**22)
    assert sampled == pytest.approx(exact, rel=0.2)
    assert "purity is measured on 500 of 2,000 balls" in caplog.text


def flat(n, d, *, noise=0.01, rank=8):
    """Unit rows near a subspace of few dimensions."""
    rng = generator(3, "flat")
    x = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + noise * rng.normal(size=(n, d))
    return F.normalize(torch.from_numpy(x).float(), dim=1)


@pytest.mark.parametrize("name", ["random", "grid", "duplicates", "flat", "noisy"])
@pytest.mark.parametrize("chunk_bytes", [2**12, 2**22])
@pytest.mark.parametrize("tile", [(512, 1024), (32, 50)])
def test_balls_are_brute_force(name, chunk_bytes, tile, monkeypatch):
    monkeypatch.setattr(_balls, "HEIGHT", tile[0])
    monkeypatch.setattr(_balls, "WIDTH", tile[1])
    x = {
        "random": F.normalize(blobs(120)[0], dim=1),
        "grid": torch.from_numpy(generator(0).integers(4, size=(120, 2))).float() / 2,
        "duplicates": blobs(30)[0].repeat(4, 1),
        "flat": flat(120, 100),
        "noisy": flat(120, 100, noise=0.3),
    }[name]
    # On the grid exactly a distance.
    radius = {"random": 0.6, "grid": 0.5, "duplicates": 2.0, "flat": 1.0, "noisy": 1.1}[name]
    ball = distances_of(x) < radius
    some = torch.arange(5, 90, 4)
    balls = Balls(x, radius, chunk_bytes)
    assert len(balls.distances.stages) == 1 + (name in ("flat", "noisy"))
    assert balls.members(some).tolist() == np.flatnonzero(ball[some].any(axis=0)).tolist()
    assert balls.counts(some).tolist() == ball[some].sum(axis=0).tolist()
    assert balls.members(some[:0]).tolist() == []
    cover = BallCover(balls, torch.zeros(120, dtype=torch.bool))
    for item in (3, 50, 3, 51):
        cover.pick(item)
    left = ~ball[[3, 50, 51]].any(axis=0)
    assert cover.degrees.tolist() == ball[:, left].sum(axis=1).tolist()


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_short_rows_bound_distances(offset):
    x = flat(200, 100) + offset
    rows = Rows.short(x)
    assert rows is not None
    assert rows.rows.shape == (200, 32)
    everything = torch.arange(200)
    squared = distances_of(x) ** 2
    lower = rows.lower(everything, everything).double()
    pairs = torch.cartesian_prod(everything, everything)
    upper = lower + rows.gap(*pairs.unbind(1)).view(200, 200)
    assert (lower.numpy() <= squared).all()
    assert (upper.numpy() >= squared).all()
    assert (upper - lower).max() < 0.05
    assert Rows.short(torch.randn(200, 100)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"delta": 0.0},
        {"delta": -1},
        {"purity": 0.0},
        {"purity": 1.1},
        {"purity": float("nan")},
        {"max_items": 0},
    ],
)
def test_wrong_hyperparameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProbCover(**wrong)
