import torch
import torch.nn.functional as F

from dal_toolbox.classifiers.linear_adamw import LinearAdamW


def data(n=200, d=8, num_classes=3):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % num_classes
    centers = torch.randn(num_classes, d, generator=generator)
    return centers[labels] + 0.7 * torch.randn(n, d, generator=generator), labels


def test_equals_torch_adamw_on_whole_batches():
    features, labels = data(n=64)
    ours = LinearAdamW(3, num_epochs=9, train_batch_size=64, lr=0.05, weight_decay=0.1)
    ours.fit(features, labels)
    head = torch.nn.Linear(8, 3)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.05, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
    for _ in range(9):
        optimizer.zero_grad()
        F.cross_entropy(head(features), labels).backward()
        optimizer.step()
        schedule.step()
    torch.testing.assert_close(ours.weight_, head.weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.bias_, head.bias.detach(), atol=1e-5, rtol=1e-4)


def test_predicts_between_epochs():
    features, labels = data()
    model = LinearAdamW(3, num_epochs=5)
    accuracies = [
        (model.logits(features).argmax(1) == labels).double().mean().item()
        for _ in model.fit_epochs(features, labels)
    ]
    assert len(accuracies) == 5
    assert accuracies[-1] > 0.9
    again = LinearAdamW(3, num_epochs=5).fit(features, labels)
    torch.testing.assert_close(again.weight_, model.weight_, atol=0, rtol=0)
