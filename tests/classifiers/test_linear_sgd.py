import torch
import torch.nn.functional as F

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
