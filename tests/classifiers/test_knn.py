import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.classifiers.knn import KNNClassifier


def brute_force(queries, keys, labels, num_classes, k, temperature, smoothing):
    similarity = F.normalize(queries.double(), dim=1) @ F.normalize(keys.double(), dim=1).T
    rows = []
    for row in similarity:
        votes = torch.zeros(num_classes, dtype=torch.float64)
        for j in row.argsort(descending=True)[:k]:
            votes[labels[j]] += torch.exp(row[j] / temperature)
        rows.append((1 - smoothing) * votes / votes.sum() + smoothing / num_classes)
    return torch.stack(rows)


@pytest.mark.parametrize("k", [1, 5, 20, 500])
def test_equals_brute_force(k):
    generator = torch.Generator().manual_seed(0)
    keys, queries = torch.randn(50, 6, generator=generator), torch.randn(9, 6, generator=generator)
    labels = torch.arange(50) % 4
    model = KNNClassifier(5, k=k, smoothing=0.05).fit(keys, labels)
    expected = brute_force(queries, keys, labels, 5, k, 0.07, 0.05)
    torch.testing.assert_close(model.probabilities(queries), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("setting", [{"k": 0}, {"temperature": 0.0}, {"smoothing": 0.0}])
def test_settings_are_checked(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))}=0"):
        KNNClassifier(3, **setting)
