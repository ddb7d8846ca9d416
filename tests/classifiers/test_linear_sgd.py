import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.optim import SGD

from dal_toolbox.classifiers import _minibatch
from dal_toolbox.classifiers._minibatch import possible_gain
from dal_toolbox.classifiers.linear import LinearClassifier
from dal_toolbox.classifiers.linear_adamw import LinearAdamW
from dal_toolbox.classifiers.linear_sgd import LinearSGD


def data(n=300, d=12, num_classes=4):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % num_classes
    centers = torch.randn(num_classes, d, generator=generator)
    return centers[labels] + 0.7 * torch.randn(n, d, generator=generator), labels


def test_equals_torch_sgd():
    features, labels = data(n=64)
    ours = LinearSGD(
        4, num_epochs=7, train_batch_size=64, base_lr=0.4, momentum=0.8, weight_decay=0.01
    ).fit(features, labels)
    head = torch.nn.Linear(12, 4)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(
        head.parameters(), lr=0.4 * 64 / 256, momentum=0.8, weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for _ in range(7):
        optimizer.zero_grad()
        F.cross_entropy(head(features), labels).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(ours.weight_, head.weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.bias_, head.bias.detach(), atol=1e-5, rtol=1e-4)


def test_learns_and_depends_on_the_seed_only_through_the_order():
    features, labels = data()
    one, two = (LinearSGD(4, train_batch_size=32, seed=s).fit(features, labels) for s in (0, 1))
    assert not torch.equal(one.weight_, two.weight_)
    for model in (one, two):
        assert (model.logits(features).argmax(1) == labels).double().mean() > 0.95


def test_batches_of_predictions_do_not_matter():
    features, labels = data()
    small, large = (LinearSGD(4, val_batch_size=b).fit(features, labels) for b in (7, 1000))
    torch.testing.assert_close(small.logits(features), large.logits(features))


@pytest.mark.parametrize(
    ("n", "asked", "used"),
    [(40, 4096, 40), (300, 4096, 64), (1440, 4096, 120), (50_000, 4096, 4096), (1440, 32, 32)],
)
def test_an_epoch_has_enough_steps(n, asked, used, monkeypatch):
    """The batch is a share of the set, and the learning rate that of the batch in use."""
    rates = []

    def step(self, closure=None):
        rates.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(SGD, "step", step)
    features, labels = torch.ones(n, 1), torch.arange(n) % 2
    LinearSGD(2, num_epochs=1, train_batch_size=asked, base_lr=0.1).fit(features, labels)
    assert rates == [pytest.approx(0.1 * used / 256)] * -(-n // used)


@pytest.mark.parametrize("classifier", [LinearSGD, LinearAdamW])
@pytest.mark.parametrize("scale", [1.0, 1 / 16])
def test_digits_are_recognized_as_well_as_by_the_exact_solution(classifier, scale, caplog):
    x, y = (torch.from_numpy(values) for values in load_digits(return_X_y=True))
    found, expected = [], []
    for seed in range(3):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        train, test = order[:1200], order[1200:]
        rows = scale * x[train].float()
        exact = LinearClassifier(10, normalize=False).fit(rows, y[train])
        with caplog.at_level(logging.WARNING, logger="dal_toolbox"):
            ours = classifier(10).fit(rows, y[train])
        for model, results in ((ours, found), (exact, expected)):
            correct = model.logits(scale * x[test].float()).argmax(1) == y[test]
            results.append(correct.double().mean().item())
    assert np.mean(found) >= np.mean(expected) - 0.01  # two standard errors of 1,791 predictions
    assert not caplog.text


def test_a_loss_that_has_not_settled_is_reported(caplog):
    features, labels = data()
    with caplog.at_level(logging.WARNING, logger="dal_toolbox"):
        LinearSGD(4).fit(features, labels)
        assert not caplog.text
        LinearSGD(4, base_lr=1e-4).fit(features, labels)
    assert "LinearSGD: the mean loss 1.257 has not settled" in caplog.text
    assert "base_lr" in caplog.text


def test_what_is_left_to_gain(monkeypatch):
    features, labels = data()
    start = torch.zeros(4, 13)
    loss, gain = possible_gain(features, labels, start)
    assert loss == pytest.approx(torch.tensor(4.0).log().item(), rel=1e-6)
    assert 0.2 < gain < loss
    monkeypatch.setattr(_minibatch, "ROWS", 7)
    assert possible_gain(features, labels, start) == pytest.approx((loss, gain), rel=1e-4)
    best = LinearClassifier(4, l2=1e-3, normalize=False).fit(features, labels)
    weight = torch.cat([best.weight_.T, best.bias_[:, None]], dim=1).float()
    assert possible_gain(features, labels, weight)[1] < 1e-3


def test_a_training_that_diverges_is_refused():
    features, labels = data()
    with pytest.raises(ValueError, match=r"^base_lr=1e\+30: the training diverged"):
        LinearSGD(4, base_lr=1e30, momentum=0.99).fit(1e10 * features, labels)
