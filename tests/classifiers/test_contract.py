"""What every registered classifier must do."""

import pytest
import torch

from dal_toolbox.classifiers import CLASSIFIERS, Classifier

CASES = {
    "one label": ([0], [2], 4),
    "one class": ([0, 1, 2], [1, 1, 1], 4),
    "missing classes": ([0, 1, 2, 3], [3, 7, 7, 3], 10),
    "duplicates": ([0, 0, 0, 1], [0, 1, 0, 1], 2),
    "200 classes": ([0, 1, 2], [5, 150, 199], 200),
}


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("case", CASES)
def test_predictions_are_finite_distributions(name, case, features):
    rows, labels, num_classes = CASES[case]
    classifier = CLASSIFIERS.build(name, num_classes=num_classes)
    assert isinstance(classifier, Classifier)
    labels = torch.tensor(labels)
    assert classifier.fit(features[rows], labels) is classifier
    logits, probabilities = classifier.logits(features), classifier.probabilities(features)
    assert logits.dtype == torch.float32
    assert logits.shape == probabilities.shape == (40, num_classes)
    assert logits.isfinite().all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(logits.double().softmax(1), probabilities, atol=1e-6, rtol=1e-5)
    if len(set(labels.tolist())) == 1:
        assert (logits.argmax(1)[rows] == labels[0]).all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_missing_classes_are_never_most_likely(name, features):
    classifier = CLASSIFIERS.build(name, num_classes=10)
    classifier.fit(features[:8], torch.tensor([3, 7] * 4))
    assert set(classifier.logits(features[:8]).argmax(1).tolist()) <= {3, 7}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_two_fits_agree_bitwise(name, dtype, features):
    features, labels = features.to(dtype), torch.arange(40) % 3
    one, two = (CLASSIFIERS.build(name, num_classes=3).fit(features, labels) for _ in range(2))
    two.fit(features[:5], labels[:5]).fit(features, labels)  # a fit starts anew
    torch.manual_seed(1)
    assert torch.equal(one.logits(features), two.logits(features))
    assert len(one.logits(features[:0])) == 0


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (0, [], "0 labels"),
        (2, [0, 3], "num_classes=3 allows 0 to 2"),
        (2, [0, -1], "allows 0 to 2"),
        (2, [0], "with labels"),
    ],
)
def test_bad_training_data_is_named(name, rows, labels, message, features):
    classifier = CLASSIFIERS.build(name, num_classes=3)
    with pytest.raises(ValueError, match=message):
        classifier.fit(features[:rows], torch.tensor(labels, dtype=torch.int64))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_features_must_be_finite(name, features):
    features[1, 1] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        CLASSIFIERS.build(name, num_classes=2).fit(features[:3], torch.tensor([0, 1, 0]))
