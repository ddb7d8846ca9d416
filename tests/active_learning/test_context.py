import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.active_learning import Pool, QueryContext
from dal_toolbox.active_learning import context as context_module
from dal_toolbox.active_learning._situations import PosteriorClassifier
from dal_toolbox.active_learning.context import NoClassifier
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.errors import UserError


@pytest.fixture
def make():
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    pool = Pool.from_history(30, [np.array([4, 9, 1])])
    labels = torch.tensor([0, 1, 1])

    def context(classifier=None, **changes) -> QueryContext:
        if classifier is not None:
            classifier.fit(features[[4, 9, 1]], labels)
        rng = np.random.default_rng(0)
        return QueryContext(features, pool, labels, 3, rng, classifier, **changes)

    return context


def test_predictions_follow_unlabeled(make, monkeypatch):
    context = make(LinearClassifier(3))
    expected = context.classifier.logits(context.features)[context.unlabeled]
    assert torch.equal(context.logits, expected)
    assert context.logits is context.logits
    assert torch.equal(context.probabilities, expected.double().softmax(1))
    monkeypatch.setattr(context_module, "ROWS", 4)
    torch.testing.assert_close(make(LinearClassifier(3)).logits, expected)


def test_cold_start_is_said(make):
    for name in ("logits", "probabilities", "samples"):
        with pytest.raises(NoClassifier, match="no item is labeled"):
            getattr(make(), name)


def test_samples_need_a_posterior(make, monkeypatch):
    with pytest.raises(UserError, match="LinearClassifier has no posterior"):
        _ = make(LinearClassifier(3)).samples
    whole = make(PosteriorClassifier(3)).samples
    assert whole.shape == (27, 3, 4)
    monkeypatch.setattr(context_module, "ROWS", 4)  # all blocks share the draws
    torch.testing.assert_close(make(PosteriorClassifier(3)).samples, whole)


def test_normalized_and_neighbors(make):
    context = make()
    torch.testing.assert_close(context.normalized, F.normalize(context.features, dim=1))
    graph = context.neighbors(4)
    assert graph is context.neighbors(4)
    similarity = context.normalized @ context.normalized.T
    similarity.fill_diagonal_(-2)
    assert torch.equal(graph.indices, similarity.topk(4).indices)


def test_what_is_cached_elsewhere_is_used(make):
    unit = torch.ones(30, 5)
    context = make(normalize=lambda: unit, graph=lambda k: ("graph", k))
    assert context.normalized is unit
    assert context.neighbors(7) == ("graph", 7)


def test_restrict(make):
    context = make(LinearClassifier(3))
    fewer = context.restrict(np.array([20, 3, 8]))
    assert fewer.unlabeled.tolist() == [3, 8, 20]
    rows = np.searchsorted(context.unlabeled, [3, 8, 20])
    torch.testing.assert_close(fewer.logits, context.logits[rows])
    assert fewer.labeled is context.labeled
    with pytest.raises(ValueError, match="labeled already"):
        context.restrict(np.array([4]))


def test_nothing_can_be_assigned(make):
    with pytest.raises(AttributeError):
        make().num_classes = 4


@pytest.mark.parametrize("known", [False, True])
def test_a_part_is_a_pool_of_its_own(make, known):
    context = make(LinearClassifier(3))
    normalized = F.normalize(context.features, dim=1)
    if known:
        assert torch.equal(context.normalized, normalized)
    part, items = context.part(np.array([20, 3, 7]))
    assert items.tolist() == [1, 3, 4, 7, 9, 20]
    assert items[part.labeled].tolist() == [4, 9, 1]  # in their order
    assert items[part.unlabeled].tolist() == [3, 7, 20]
    assert torch.equal(part.features, context.features[items])
    assert torch.equal(part.normalized, normalized[items])
    assert torch.equal(part.logits, context.logits[np.searchsorted(context.unlabeled, [3, 7, 20])])
    assert part.neighbors(2).indices.shape == (6, 2)
    with pytest.raises(ValueError, match="labeled already"):
        context.part(np.array([3, 9]))
