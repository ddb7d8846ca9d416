import inspect
import logging
import re
import shutil

import numpy as np
import pytest

from dal_toolbox.datasets import DatasetNotFound, ImageArray, ImageFiles
from dal_toolbox.datasets._layout import read_layout
from dal_toolbox.datasets._sealed import read_sealed, write_sealed
from dal_toolbox.datasets._splits import BadShare
from dal_toolbox.datasets.folder import folder
from dal_toolbox.datasets.opening import IMAGENET_MEAN
from dal_toolbox.datasets.split_files import BadSplitFile


@pytest.fixture
def build(class_folders, tmp_path):
    def build(**kwargs):
        kwargs = {"root": str(class_folders), **kwargs}
        return folder(tmp_path / "data", 0, **kwargs)

    return build


def test_class_folders(build, check_bundle):
    bundle = build(val_size=0.2)
    check_bundle(bundle)
    assert bundle.classes == ("cat", "dog")
    assert bundle.name == "images"
    assert bundle.image_size == 12
    assert np.bincount(bundle.train.targets).tolist() == [6, 3]
    assert np.bincount(bundle.val.targets).tolist() == [2, 1]
    assert np.bincount(bundle.test.targets).tolist() == [2, 1]
    assert all(
        name.startswith(bundle.classes[target])
        for name, target in zip(bundle.train.names, bundle.train.targets, strict=True)
    )


def test_drawn_splits_are_fixed_by_the_seed(build):
    assert build().train.fingerprint == build().train.fingerprint
    assert build().test.names != build(split_seed=1).test.names
    assert build().test.names == build(val_size=0.2).test.names


def test_split_seeds_share_one_pack(build, tmp_path):
    build(split_seed=0)
    build(split_seed=1, val_size=0.3)
    assert len(list((tmp_path / "data/packed").glob("*/manifest.json"))) == 1


def test_mean_and_std_are_computed_once_for_a_pack(build, tmp_path):
    bundle = build()
    pixels = bundle.train.images.double() / 255
    assert bundle.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist())
    assert bundle.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist())
    (stored,) = (tmp_path / "data/packed").glob("*/statistics-*.json")
    write_sealed(stored, {**read_sealed(stored), "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    assert build().mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("kwargs", "kind"),
    [
        ({}, ImageArray),
        ({"pack": "never"}, ImageFiles),
        ({"pack_bytes": 15 * 3 * 12 * 12}, ImageArray),
        ({"pack_bytes": 15 * 3 * 12 * 12 - 1}, ImageFiles),
        ({"pack_bytes": 0, "pack": "always"}, ImageArray),
    ],
)
def test_packing_is_a_choice(build, check_bundle, kwargs, kind):
    bundle = build(**kwargs)
    check_bundle(bundle)
    assert isinstance(bundle.train, kind)
    assert (bundle.mean == IMAGENET_MEAN) is (kind is ImageFiles)


def test_train_size(build, tmp_path):
    bundle = build(train_size=6)
    assert np.bincount(bundle.train.targets).tolist() == [4, 2]
    assert bundle.test.names == build().test.names
    assert set(bundle.train.names) < set(build().train.names)
    with pytest.raises(BadShare, match="^train_size=13: there are 12 training images"):
        build(train_size=13)


@pytest.mark.parametrize("val", ["val", "valid"])
def test_split_folders(build, tmp_path, write_image, check_bundle, val):
    root = tmp_path / "split"
    for seed, split in enumerate(["train"] * 6 + [val] * 2 + ["test"] * 4 + ["docs"]):
        write_image(root / split / "ab"[seed % 2] / f"{seed}.png", seed)
    for seed in range(3):
        write_image(root / "unlabeled" / f"{seed}.png", 100 + seed)
    bundle = build(root=str(root), val_size=0.5, test_size=0.5)  # given ones win
    check_bundle(bundle)
    sizes = [len(part) for part in (bundle.train, bundle.val, bundle.test, bundle.unlabeled)]
    assert sizes == [6, 2, 4, 3]
    assert bundle.classes == ("a", "b")
    assert (bundle.unlabeled.targets == -1).all()
    assert not any(name.startswith("docs") for name in bundle.train.names)


def test_a_class_may_be_called_train(tmp_path, write_image):
    for seed, name in enumerate(["bus", "car", "train"]):
        write_image(tmp_path / name / "0.png", seed)
    assert read_layout(tmp_path).classes == ("bus", "car", "train")


def test_test_split_is_drawn_from_train_where_it_is_missing(build, tmp_path, write_image):
    root = tmp_path / "split"
    for seed in range(10):
        write_image(root / "train" / "ab"[seed % 2] / f"{seed}.png", seed)
    write_image(root / "val/a/0.png", 50)
    write_image(root / "val/b/0.png", 51)
    bundle = build(root=str(root))
    assert [len(bundle.train), len(bundle.val), len(bundle.test)] == [8, 2, 2]


def test_images_without_classes(build, tmp_path, write_image, check_bundle):
    for seed in range(10):
        write_image(tmp_path / "loose" / f"{seed}.png", seed)
    bundle = build(root=str(tmp_path / "loose"))
    check_bundle(bundle)
    assert bundle.classes == ()
    assert (bundle.train.targets == -1).all()
    assert (len(bundle.train), bundle.val, bundle.test) == (10, None, None)
    bundle = build(root=str(tmp_path / "loose"), val_size=0.2, test_size=0)
    assert (len(bundle.train), len(bundle.val), bundle.test) == (8, 2, None)


@pytest.mark.parametrize("form", ["train", "unlabeled", "train.txt", "unlabeled.txt"])
def test_without_labels_nothing_is_set_apart(build, tmp_path, write_image, check_bundle, form):
    root = tmp_path / "loose"
    for seed in range(10):
        write_image(root / form.partition(".")[0] / f"{seed}.png", seed)
    if form.endswith(".txt"):
        lines = "".join(f"{form.partition('.')[0]}/{seed}.png\n" for seed in range(8))
        (root / form).write_text(lines)
    bundle = build(root=str(root))
    check_bundle(bundle)
    assert bundle.classes == ()
    sizes = {"train.txt": (8, 0), "unlabeled.txt": (2, 8)}.get(form, (10, 0))
    assert (len(bundle.train), len(bundle.unlabeled or ())) == sizes
    assert (bundle.val, bundle.test) == (None, None)


def test_no_test_split_where_none_is_wanted(build, check_bundle):
    bundle = build(test_size=0)
    check_bundle(bundle)
    assert (len(bundle.train), bundle.test) == (15, None)


def test_drawn_splits_hardly_change_with_the_folder(build, class_folders, write_image):
    for seed in range(100):
        write_image(class_folders / "cat" / f"more {seed}.png", seed)
    before = build(val_size=0.2)
    sides = {name: s for s in ("train", "val", "test") for name in getattr(before, s).names}
    write_image(class_folders / "cat" / "00 new.png", 1000)
    write_image(class_folders / "ant" / "first.png", 1001)
    after = build(val_size=0.2)
    moved = [
        n for s in ("train", "val", "test") for n in getattr(after, s).names if sides.get(n, s) != s
    ]
    assert len(moved) <= 4  # the last of a class that is drawn


def test_unlabeled_training_beside_labeled_test(build, tmp_path, write_image, check_bundle):
    root = tmp_path / "split"
    for seed in range(6):
        write_image(root / "train" / f"{seed}.png", seed)
        write_image(root / "test" / "ab"[seed % 2] / f"{seed}.png", 10 + seed)
    bundle = build(root=str(root))
    check_bundle(bundle)
    assert (bundle.train.targets == -1).all()
    assert bundle.test.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_stray_and_hidden_files(class_folders, write_image, caplog):
    write_image(class_folders / "preview.png", 1)
    write_image(class_folders / ".thumbnails/a.png", 1)
    (class_folders / "cat/._00.png").write_text("metadata of another system")
    (class_folders / "cat/notes.md").write_text("no image")
    write_image(class_folders / "cat/deep/er/A.JPG", 1)
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        layout = read_layout(class_folders)
    assert len(layout.names) == 16
    assert "cat/deep/er/A.JPG" in layout.names
    assert "left out: 1 image in no class folder, 'preview.png'" in caplog.text
    assert layout.left_out == ("1 image in no class folder", "1 other file")


def test_split_files_as_people_write_them(build, class_folders, write_image, check_bundle):
    write_image(class_folders / "big cat/my cat.png", 50)
    write_image(class_folders / "big cat/ä.png", 51)
    (class_folders / "train.txt").write_bytes(
        "\ufeffcat/00.png\r\n\r\n  ./cat/01.png  \r\ncat\\02.png\r\nbig cat/my cat.png\r\n"
        "dog/10.png\r\n\r\nbig cat/ä.png".encode()
    )
    (class_folders / "val.txt").write_text("cat/05.png\ndog/11.png\n", encoding="utf-16")
    (class_folders / "test.txt").write_text("dog/12.png\n")
    bundle = build()
    check_bundle(bundle)
    assert bundle.classes == ("big cat", "cat", "dog")
    assert sorted(bundle.train.names) == [
        "big cat/my cat.png",
        "big cat/ä.png",
        "cat/00.png",
        "cat/01.png",
        "cat/02.png",
        "dog/10.png",
    ]
    assert bundle.val.names == ["cat/05.png", "dog/11.png"]
    assert bundle.test.names == ["dog/12.png"]


def test_without_train_txt_the_others_are_for_training(build, class_folders):
    (class_folders / "test.txt").write_text("cat/00.png\ndog/12.png\n")
    bundle = build()
    assert bundle.test.names == ["cat/00.png", "dog/12.png"]
    assert len(bundle.train) == 13


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("cat/00.png\n\ncat/no such.png\n", "dog/12.png", r"train.txt line 3 lists 'cat/no such"),
        (
            "cat/00.png\ncat/00.png",
            "dog/12.png",
            "train.txt line 2 .* again after train.txt line 1",
        ),
        ("cat/00.png", "cat\\00.png", "test.txt line 1 .* again after train.txt line 1"),
        (" \r\n\r\n", "dog/12.png", r"train.txt lists no images"),
        ("../images/cat/00.png", "dog/12.png", r"train.txt line 1 lists"),
    ],
)
def test_split_files_that_do_not_fit(build, class_folders, train, test, message):
    (class_folders / "train.txt").write_bytes(train.encode())
    (class_folders / "test.txt").write_text(test)
    with pytest.raises(BadSplitFile, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_split_files_that_leave_nothing_for_training(build, class_folders):
    names = [f"{path.parent.name}/{path.name}" for path in class_folders.rglob("*.png")]
    (class_folders / "test.txt").write_text("\n".join(names))
    with pytest.raises(BadSplitFile, match="left for training beside test"):
        build()


def test_auto_size(build, class_folders, write_image):
    write_image(class_folders / "cat/00.png", 0, size=(30, 12))
    assert build().image_size == 12
    write_image(class_folders / "cat/00.png", 0, size=(13, 13))
    assert build(pack="never").image_size == 224
    assert build(image_size=6).train.shape == (3, 6, 6)


def test_same_size_but_large(build, class_folders, write_image):
    for path in class_folders.rglob("*.png"):
        write_image(path, 0, size=(300, 257))
    assert build(pack="never").image_size == 224


def test_what_is_no_dataset(build, class_folders, tmp_path):
    with pytest.raises(DatasetNotFound, match="^root=None: give a folder"):
        build(root=None)
    with pytest.raises(DatasetNotFound, match="^root=.*nowhere: no such folder"):
        build(root=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFound, match="^root=.*: no images in it"):
        build(root=str(tmp_path / "empty"))


def test_wrong_values(build):
    with pytest.raises(BadShare, match="^val_size=0.5: takes 8 of 6 images"):
        build(test_size=0.6, val_size=0.5)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("root", ["", "  ", None]),
        ("image_size", [-3, 0.5, float("nan"), 10**9, "large", True]),
        ("max_size", [-1, 10**9, float("nan")]),
        ("val_size", [-0.1, 1, 1.5, float("nan"), float("inf"), "some", True]),
        ("test_size", [-0.1, 1, 1.5, float("nan"), float("inf"), None]),
        ("split_seed", [-1, 0.5, float("nan"), "a"]),
        ("train_size", [-1, 0.5, float("nan"), "all"]),
        ("pack_bytes", [-1, float("inf"), "4GB"]),
        ("max_pixels", [0, -1, float("inf"), "many"]),
        ("pack", ["sometimes", True, 1]),
        ("on_error", ["ignore", None]),
    ],
)
def test_values_are_checked_before_the_folder_is_looked_at(tmp_path, key, values):
    for value in values:
        kwargs = {"root": str(tmp_path / "nowhere"), key: value}
        with pytest.raises(ValueError, match=f"^{key}={re.escape(repr(value))}: ") as caught:
            folder(tmp_path / "data", 0, **kwargs)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_every_parameter_of_the_folder_is_checked():
    parameters = {
        name
        for name, parameter in inspect.signature(folder).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    marks = test_values_are_checked_before_the_folder_is_looked_at.pytestmark
    assert parameters == {key for key, _ in marks[0].args[1]}


def test_large_values_that_mean_something(build):
    bundle = build(split_seed=2**64, pack_bytes=10**18, max_pixels=10**18)
    assert len(bundle.train) == 12


@pytest.mark.parametrize("root", ["~nobody_of_this_name/images", "a" * 300, "a\0b"])
def test_roots_that_no_system_takes(build, root):
    with pytest.raises(DatasetNotFound, match="^root=") as caught:
        build(root=root)
    assert "\0" not in str(caught.value)


def test_moving_the_folder_keeps_the_pack(build, class_folders, tmp_path):
    before = build().train.fingerprint
    shutil.move(class_folders, tmp_path / "elsewhere")
    assert build(root=str(tmp_path / "elsewhere")).train.fingerprint == before
    assert len(list((tmp_path / "data/packed").glob("*/manifest.json"))) == 1
