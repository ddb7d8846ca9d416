import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, situations
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick
from dal_toolbox.active_learning.strategies.cal import CAL
from dal_toolbox.classifiers import CLASSIFIERS


def naive_scores(context, k):
    x = context.features.double().numpy()
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(norms > 0, norms, 1)
    p = context.classifier.probabilities(context.features).numpy()
    log_p = context.classifier.logits(context.features).double().log_softmax(1).numpy()
    scores = []
    for i in context.unlabeled:
        squared = [float(((x[i] - x[j]) ** 2).sum()) for j in context.labeled]
        order = sorted(range(len(squared)), key=lambda j: (squared[j], j))[:k]
        values = []
        for j in context.labeled[order]:
            terms = [q * (np.log(q) - log_p[i, c]) for c, q in enumerate(p[j]) if q > 0]
            values.append(sum(terms))
        scores.append(np.mean(values))
    return np.array(scores)


@pytest.mark.parametrize("k", [1, 4, 10, 99])
@pytest.mark.parametrize("name", ["ordinary", "duplicates", "classes 3 and 7 only", "200 classes"])
def test_scores_equal_naive(name, k):
    context = situations()[name].context(PosteriorClassifier)
    scores = CAL(num_neighbors=k).score(context).numpy()
    np.testing.assert_allclose(scores, naive_scores(context, k), atol=2e-7)


def test_picks_on_digits_equal_naive():
    data = load_digits()
    features = torch.from_numpy(data.data[:200] / 16).float()
    situation = Situation(features, tuple(range(40)), tuple(data.target[:40].tolist()), 10)
    context = situation.context(PosteriorClassifier)
    order = context.unlabeled[np.argsort(-naive_scores(context, 10), kind="stable")]
    assert (
        CAL(num_neighbors=10, candidates_per_pick=1).query(context, 15).tolist()
        == order[:15].tolist()
    )


def test_equal_predictions_have_score_zero():
    for name in ("uniform predictions", "all equal"):
        scores = CAL().score(situations()[name].context(PosteriorClassifier))
        assert scores.abs().max() == 0


def test_certain_predictions_are_finite():
    scores = CAL().score(situations()["certain predictions"].context(PosteriorClassifier))
    assert torch.isfinite(scores).all()


def test_clusters_of_the_leading_items():
    context, again = (situations()["ordinary"].context(PosteriorClassifier) for _ in range(2))
    leading = CAL(candidates_per_pick=1).query(again, 20)
    assert CAL(candidates_per_pick=5).query(context, 4).tolist() == (
        cluster_pick(again, leading, 4).tolist()
    )


def test_few_labels_are_spread_over_classes():
    """The published rule takes the surest items of a few classes."""
    data = load_digits()
    features = torch.from_numpy(data.data / 16).float()

    def classes(**options):
        found = 0
        for seed in range(6):
            some = np.random.default_rng(seed).choice(len(features), 20, replace=False)
            situation = Situation(features, tuple(some), tuple(data.target[some].tolist()), 10)
            picks = CAL(**options).query(situation.context(CLASSIFIERS["linear"]), 10)
            found += len(set(data.target[picks]))
        return found / 6

    assert classes(num_neighbors=10, candidates_per_pick=1) < 4.5
    assert classes() > 5.5


@pytest.mark.parametrize("name", ["num_neighbors", "candidates_per_pick"])
def test_at_least_one(name):
    with pytest.raises(ValueError, match=f"^{name}=0"):
        CAL(**{name: 0})
