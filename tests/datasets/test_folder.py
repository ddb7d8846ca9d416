import logging
import shutil

import numpy as np
import pytest

from dal_toolbox.datasets import DatasetNotFound, ImageArray, ImageFiles
from dal_toolbox.datasets._layout import read_layout
from dal_toolbox.datasets._sealed import read_sealed, write_sealed
from dal_toolbox.datasets._split_files import BadSplitFile
from dal_toolbox.datasets._splits import BadShare
from dal_toolbox.datasets.folder import folder
from dal_toolbox.datasets.opening import IMAGENET_MEAN


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
    with pytest.raises(BadShare, match="train_size=13 of 12"):
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
    assert "1 images in no class folder are left out: preview.png" in caplog.text


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
    with pytest.raises(DatasetNotFound, match=r"dataset\.root="):
        build(root=None)
    with pytest.raises(DatasetNotFound, match=r"dataset.root=.*nowhere is no folder"):
        build(root=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFound, match="holds no images"):
        build(root=str(tmp_path / "empty"))


def test_wrong_values(build):
    with pytest.raises(BadShare, match=r"dataset\.test_size=0 leaves no test images"):
        build(test_size=0)
    with pytest.raises(BadShare, match=r"dataset.test_size=0.6|dataset.val_size=0.5"):
        build(test_size=0.6, val_size=0.5)
    with pytest.raises(ValueError, match="image_size=-1"):
        build(image_size=-1)


def test_moving_the_folder_keeps_the_pack(build, class_folders, tmp_path):
    before = build().train.fingerprint
    shutil.move(class_folders, tmp_path / "elsewhere")
    assert build(root=str(tmp_path / "elsewhere")).train.fingerprint == before
    assert len(list((tmp_path / "data/packed").glob("*/manifest.json"))) == 1
