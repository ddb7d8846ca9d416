import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, situations
from dal_toolbox.active_learning.strategies.cal import CAL


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
    assert CAL().query(context, 15).tolist() == order[:15].tolist()


def test_equal_predictions_have_score_zero():
    for name in ("uniform predictions", "all equal"):
        scores = CAL().score(situations()[name].context(PosteriorClassifier))
        assert scores.abs().max() == 0


def test_certain_predictions_are_finite():
    scores = CAL().score(situations()["certain predictions"].context(PosteriorClassifier))
    assert torch.isfinite(scores).all()


def test_at_least_one_neighbor():
    with pytest.raises(ValueError, match="num_neighbors=0"):
        CAL(num_neighbors=0)
