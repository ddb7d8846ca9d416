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


@pytest.mark.parametrize(
    "classes",
    [
        [],
        [1, 1],
        ["eleven"],
        [10],
        [-1],
        ["²"],
        ["9" * 5000],
        [None],
        [True],
        [0.5],
        [[1, 2]],
        ["\x1b"],
    ],
)
def test_what_is_not_there_is_refused(classes):
    with pytest.raises(BadSelection) as caught:
        select_classes(DIGITS, classes)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("classes", [3, True, 0.5, None, "seven", {"7": 1}])
def test_classes_are_a_list(classes):
    with pytest.raises(BadSelection, match=r"^classes=.*: must be a list"):
        select_classes(DIGITS, classes)


def test_a_dataset_without_classes_has_none_to_choose(tmp_path, write_image):
    for seed in range(3):
        write_image(tmp_path / "images" / f"{seed}.png", seed)
    bundle = DATASETS.build(
        "folder", dataset_path=tmp_path, num_workers=0, root=tmp_path / "images"
    )
    with pytest.raises(BadSelection, match="the images have no labels"):
        select_classes(bundle, ["cat"])


def test_classes_of_a_dataset_without_test_split(tmp_path, write_image):
    for seed in range(4):
        write_image(tmp_path / "images" / "ab"[seed % 2] / f"{seed}.png", seed)
    options = {"dataset_path": tmp_path, "num_workers": 0, "root": str(tmp_path / "images")}
    bundle = DATASETS.build("folder", **options, test_size=0)
    assert select_classes(bundle, ["b"]).test is None


@pytest.mark.parametrize("number", [0, -1])
def test_images_per_class_needs_a_number_and_labels(number):
    with pytest.raises(BadSelection, match="must be at least 1"):
        images_per_class(DIGITS.train.targets, number, np.random.default_rng(3))
    with pytest.raises(BadSelection, match="no training image has a label"):
        images_per_class(np.array([-1, -1]), 1, np.random.default_rng(3))


def test_images_per_class_are_balanced_and_nested():
    targets = DIGITS.train.targets
    small, large = (images_per_class(targets, n, np.random.default_rng(3)) for n in (5, 20))
    assert np.all(np.bincount(targets[small]) == 5)
    assert set(small) < set(large)
    with pytest.raises(BadSelection, match="100000 images of each class: class 0 has"):
        images_per_class(targets, 100_000, np.random.default_rng(3))
