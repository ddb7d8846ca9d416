import numpy as np
import pytest

from dal_toolbox.datasets import DATASETS
from dal_toolbox.datasets.selection import BadSelection, images_per_class, select_classes

DIGITS = DATASETS.build("digits", val_size=0.1)


def test_classes_are_taken_in_the_order_given():
    part = select_classes(DIGITS, ["7", 2])
    assert part.classes == ("7", "2")
    for split in ("train", "val", "test"):
        old, new = getattr(DIGITS, split), getattr(part, split)
        rows = np.flatnonzero(np.isin(old.targets, (7, 2)))
        assert list(new.names) == [old.names[row] for row in rows]
        np.testing.assert_array_equal(new.targets, (old.targets[rows] == 2).astype(int))
        np.testing.assert_array_equal(new.batch(np.arange(3)), old.batch(rows[:3]))


def test_fingerprints_differ_between_selections():
    parts = [select_classes(DIGITS, classes) for classes in ([1, 2], [1, 3], [2, 1], [1, 2])]
    assert len({part.train.fingerprint for part in parts}) == 3  # numbers of classes count, too


@pytest.mark.parametrize("classes", [[], [1, 1], ["eleven"], [10], [-1]])
def test_what_is_not_there_is_refused(classes):
    with pytest.raises(BadSelection):
        select_classes(DIGITS, classes)


def test_images_per_class_are_balanced_and_nested():
    targets = DIGITS.train.targets
    small, large = (images_per_class(targets, n, np.random.default_rng(3)) for n in (5, 20))
    assert np.all(np.bincount(targets[small]) == 5)
    assert set(small) < set(large)
    with pytest.raises(BadSelection, match="100000 images of each class: class 0 has"):
        images_per_class(targets, 100_000, np.random.default_rng(3))
