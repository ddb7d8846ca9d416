"""What is said about a dataset."""

import logging

import numpy as np
import pytest

from dal_toolbox.datasets import DatasetBundle, ImageArray, select_classes
from dal_toolbox.datasets.folder import folder
from dal_toolbox.datasets.summary import describe, oddities


def bundle(train, test=None, val=None, unlabeled=0, classes="abcd"):
    def images(targets, split):
        if targets is None:
            return None
        pixels = np.zeros((len(targets), 1, 8, 8), np.uint8)
        return ImageArray(
            pixels, np.array(targets), [f"{split}{row}" for row in range(len(targets))]
        )

    return DatasetBundle(
        "some", images(train, "train"), images(val, "val"), images(test, "test"),
        images([-1] * unlabeled if unlabeled else None, "unlabeled"),
        tuple(classes), 8, (0.5,), (0.5,),
    )  # fmt: skip


def test_one_line():
    assert describe(bundle([0, 1], [2, 3])) == "4 images of 4 classes (2 train, 2 test)"
    assert describe(bundle([-1], classes="")) == "1 image without labels (1 train)"
    everything = bundle([0] * 1000, [0], [0], 500, "a")
    assert describe(everything) == (
        "1,502 images of 1 class (1,000 train, 1 val, 1 test, 500 unlabeled)"
    )


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"train": [0, 1, 2, 3] * 2, "test": [0, 1, 2, 3]}, []),
        ({"train": [-1, -1], "test": [0, 1, 0, 1], "classes": "ab"}, []),
        ({"train": [-1, -1], "classes": ""}, []),
        (
            {"train": [0, 0, 1, 1], "test": [0, 1, 2, 2, 3, 3, 3, 3]},
            [
                "in test but not in train: 2 classes, 'c', 'd'; 6 of 8 images cannot be "
                "classified, accuracy is at most 25.0%"
            ],
        ),
        (
            {"train": [0, 0], "val": [1, 1], "classes": "ab"},
            [
                "in val but not in train: 1 class, 'b'; 2 of 2 images cannot be classified, "
                "accuracy is at most 0.0%"
            ],
        ),
        (
            {"train": [0, 0], "classes": "a"},
            ["all images are of one class, 'a'"],
        ),
        ({"train": [1, 1, 2, 2], "classes": "abc"}, ["no image at all: 1 class, 'a'"]),
        ({"train": [0, 0, 1], "classes": "ab"}, ["one image only: 1 class, 'b'"]),
    ],
)
def test_oddities(kwargs, expected):
    assert list(oddities(bundle(**kwargs))) == expected


@pytest.mark.parametrize("target", [-2, 4, 10**9])
def test_targets_beyond_the_classes_are_refused(target):
    with pytest.raises(ValueError, match="of 4 classes; wanted 0 to 3"):
        bundle([0, target])


def test_a_part_says_what_it_is(caplog):
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        select_classes(bundle([0, 0, 1, 1], [0, 1, 2]), ["a"])
    assert "some: 3 images of 1 class (2 train, 1 test)" in caplog.text


def test_classes_of_the_test_alone_are_warned_of(tmp_path, write_image, caplog):
    for seed in range(6):
        write_image(tmp_path / "images/train" / "ab"[seed % 2] / f"{seed}.png", seed)
        write_image(tmp_path / "images/test" / "abc"[seed % 3] / f"{seed}.png", 10 + seed)
    folder(tmp_path / "data", 0, root=str(tmp_path / "images"))
    assert "'c'; 2 of 6 images cannot be classified, accuracy is at most 66.7%" in caplog.text


@pytest.mark.parametrize("pack", ["always", "never"])
def test_a_class_that_cannot_be_decoded_stays_a_class(tmp_path, write_image, caplog, pack):
    for seed in range(12):
        write_image(tmp_path / "images" / "ab"[seed % 2] / f"{seed}.png", seed)
    (tmp_path / "images/c").mkdir()
    for seed in range(5):
        (tmp_path / f"images/c/{seed}.jpg").write_text("no image")
    root = str(tmp_path / "images")
    made = folder(tmp_path / "data", 0, root=root, pack=pack, on_error="skip")
    assert made.classes == ("a", "b", "c")
    assert "no image at all: 1 class, 'c'" in caplog.text
