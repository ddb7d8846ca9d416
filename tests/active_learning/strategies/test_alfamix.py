import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies._cluster_pick import cluster_pick, fill_at_random
from dal_toolbox.active_learning.strategies._critical import CriticalBounds
from dal_toolbox.active_learning.strategies._mixing import AnyHead, LinearHead, head_of
from dal_toolbox.active_learning.strategies.alfamix import AlfaMix, class_means
from dal_toolbox.classifiers import CLASSIFIERS
from dal_toolbox.classifiers.knn import KNNClassifier
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.classifiers.linear_sgd import LinearSGD

MAKERS = {
    "linear": LinearClassifier,
    "raw": lambda c: LinearClassifier(c, normalize=False),
    "sgd": lambda c: LinearSGD(c, num_epochs=20),
}


def situation(d=8, num_classes=3):
    features, targets = blobs(60, d=d)
    features = features + 1.2 * features.roll(1, 0)  # less easy
    return Situation(features, tuple(range(12)), tuple(targets[:12].tolist()), num_classes)


def changes(head, z, anchors, epsilon):
    [change] = head.growing(lambda positions: z[positions], len(z), anchors, [epsilon])
    return torch.from_numpy(change)


def naive_candidates(x, anchors, logits, gradients, epsilon):
    """The paper's formula, one item, one anchor and one feature at a time, in float64."""
    candidates = []
    for z, gradient in zip(x, gradients, strict=True):
        predicted, changed = logits(z).argmax(), False
        for anchor in anchors:
            way = anchor - z
            scale = epsilon * np.sqrt((way**2).sum()) / np.sqrt((gradient**2).sum())
            alpha = np.array([scale * g / w for g, w in zip(gradient, way, strict=True)])
            changed |= logits(z + alpha * way).argmax() != predicted
        candidates.append(bool(changed))
    return np.array(candidates)


def loss_by_logits(row):
    """Softmax − one-hot, without the cancellation in p_ŷ − 1."""
    p = np.exp(row - row.max())
    p /= p.sum()
    p[row.argmax()] = 0
    p[row.argmax()] = -p.sum()
    return p


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("epsilon", [0.05, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("num_classes", [3, 10])
def test_candidates_of_a_linear_head_equal_the_formula(maker, epsilon, num_classes):
    context = situation(num_classes=num_classes).context(MAKERS[maker])
    head = head_of(context.classifier, context.features)
    assert isinstance(head, LinearHead)
    x = context.features.double().numpy()
    if maker == "linear":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    weight, bias = head.weight.numpy(), head.bias.numpy()

    def logits(z):
        return z @ weight + bias

    gradients = np.array([loss_by_logits(logits(z)) @ weight.T for z in x])
    labels = context.labels.numpy()
    anchors = [x[:12][labels == c].mean(0) for c in range(3)]
    anchors += [x[:12].mean(0)] if num_classes > 3 else []
    np.testing.assert_allclose(class_means(head, context).numpy(), anchors, atol=1e-12)
    expected = naive_candidates(x, anchors, logits, gradients, epsilon)
    found = changes(head, head.inputs(context.features), torch.tensor(np.array(anchors)), epsilon)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("epsilon", [0.2, 0.5, 1.0])
def test_a_differentiable_classifier_gives_the_formula_too(epsilon):
    context = situation().context(PosteriorClassifier)
    head = head_of(context.classifier, context.features)
    assert isinstance(head, AnyHead)
    assert head.differentiable
    linear = context.classifier.linear
    weight, bias = linear.weight_, linear.bias_

    def logits(z):
        return (F.normalize(torch.from_numpy(z), dim=0) @ weight + bias).numpy()

    z = context.features.double().requires_grad_()
    output = F.normalize(z, dim=1) @ weight + bias
    F.cross_entropy(output, output.argmax(1), reduction="sum").backward()
    anchors = class_means(head, context)
    arguments = context.features.double().numpy(), anchors.numpy(), logits, z.grad.numpy(), epsilon
    found = changes(head, head.inputs(context.features), anchors, epsilon)
    np.testing.assert_array_equal(found.numpy(), naive_candidates(*arguments))
    assert found.any()


def test_both_heads_agree():
    context = situation().context(MAKERS["raw"])
    linear, asked = head_of(context.classifier, context.features), AnyHead(context.classifier, True)
    z, anchors = context.features.double(), class_means(linear, context)
    for epsilon in (0.1, 0.3, 0.9):
        expected = changes(linear, z, anchors, epsilon)
        assert torch.equal(changes(asked, z, anchors, epsilon), expected)


def test_without_a_gradient_items_move_straight(caplog):
    context = situation().context(KNNClassifier)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        head = head_of(context.classifier, context.features)
    assert "KNNClassifier has no gradient" in caplog.text
    anchors = class_means(head, context)
    z = head.inputs(context.features)
    found = changes(head, z, anchors, 0.3)
    predicted = context.classifier.logits(context.features).argmax(1)
    expected = torch.zeros(60, dtype=torch.bool)
    for anchor in anchors:
        moved = context.classifier.logits((0.7 * z + 0.3 * anchor).float())
        expected |= moved.argmax(1) != predicted
    assert torch.equal(found, expected)
    assert 0 < found.sum() < 60


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_certain_predictions_have_a_direction(scale):
    """Logits of any size: the gradient shrinks to nothing, its direction does not."""
    weight = scale * torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    z = torch.tensor([[2.0, 0.5]], dtype=torch.float64)
    anchor = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    linear = LinearHead(weight, torch.zeros(3, dtype=torch.float64), False)
    asked = AnyHead(SimpleNamespace(logits=lambda x: (x.double() @ weight).float()), True)
    critical = float(linear.critical(z, anchor))
    assert 0 < critical < 1
    for head in (linear, asked):
        assert not changes(head, z, anchor, 0.99 * critical)
        assert changes(head, z, anchor, 1.01 * critical)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_bounds_of_float32_hold_what_float64_finds(scale):
    noise = torch.Generator().manual_seed(0)
    weight, z = torch.randn(64, 50, generator=noise), torch.randn(500, 64, generator=noise)
    weight, z = scale * weight.double(), z.double()
    z[:20] = z[20:40] * 1e-4
    bias, anchors = torch.arange(50).double() / 50, z[-7:]
    exact = LinearHead(weight, bias, False).critical(z, anchors)
    low, high = CriticalBounds(weight, bias, anchors)(z)
    assert ((low <= exact) & (exact <= high)).all()
    if scale < 1:
        assert (high < 1.1 * low)[40:].double().mean() > 0.5


def test_an_item_that_is_the_anchor_stays():
    head = LinearHead(torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), False)
    z = torch.tensor([[1.0, 0.9], [0.0, 0.0]], dtype=torch.float64)
    critical = head.critical(z, z[:1])
    assert critical[0] == torch.inf  # no NaN
    assert head.critical(z, z[1:])[0] > 0
    # The gradient at (1, 0.9) points to (−1, 1)/√2: ŷ changes after 0.1/√2, of the way √1.81.
    assert float(head.critical(z, z[1:])[0]) == pytest.approx(0.1 / 2**0.5 / 1.81**0.5)


def test_a_dead_feature_changes_nothing():
    base = situation()
    dead = F.pad(base.features, (0, 1))
    one, two = (
        Situation(x, base.labeled, base.labels).context(LinearClassifier)
        for x in (base.features, dead)
    )
    heads = [head_of(c.classifier, c.features) for c in (one, two)]
    values = [
        head.critical(head.inputs(c.features), class_means(head, c))
        for head, c in zip(heads, (one, two), strict=True)
    ]
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_epsilon_grows_until_there_are_more_than_n(n):
    context = situation().context(LinearClassifier)
    head = head_of(context.classifier, context.features)
    z = head.inputs(context.features)[12:]
    critical = head.critical(z, class_means(head, context)).numpy()
    levels = [0.2, 0.4, 0.6, 0.8, 1.0]
    enough = [level for level in levels if (critical < level / 8**0.5).sum() > n]
    expected = critical < (enough or levels[-1:])[0] / 8**0.5
    np.testing.assert_array_equal(AlfaMix().changing(context, n), expected)
    other = situation().context(LinearClassifier)
    picks = fill_at_random(other, cluster_pick(other, other.unlabeled[expected], n), n)
    assert AlfaMix().query(context, n).tolist() == picks.tolist()


def test_cold_start_clusters_everything(caplog):
    cold = situations()["cold start"]
    other = cold.context(PosteriorClassifier)
    expected = cluster_pick(other, other.unlabeled, 5)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        assert AlfaMix().query(cold.context(PosteriorClassifier), 5).tolist() == expected.tolist()
    assert "all items are candidates" in caplog.text


def test_weights_that_do_not_explain_the_logits_are_not_believed():
    features = blobs(60)[0]
    weight, bias = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(3)
    liar = SimpleNamespace(weight_=weight, bias_=bias, logits=lambda x: (x @ weight).tanh())
    assert isinstance(head_of(liar, features), AnyHead)
    honest = SimpleNamespace(weight_=weight.T, bias_=bias, logits=lambda x: x @ weight)
    assert isinstance(head_of(honest, features), LinearHead)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_has_a_head(name):
    try:
        context = situation().context(lambda c: CLASSIFIERS.build(name, num_classes=c))
    except TypeError:
        pytest.skip("needs more than the number of classes")
    picks = AlfaMix().query(context, 5)
    assert len(set(picks.tolist())) == 5


def test_epsilon_must_be_a_share():
    with pytest.raises(ValueError, match="epsilon=2"):
        AlfaMix(epsilon=2)
