"""Faces whose labels are their names."""

import logging
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from dal_toolbox.datasets import DATASETS, DatasetNotFound
from dal_toolbox.datasets._splits import BadShare
from dal_toolbox.datasets._unpack import BadArchive
from dal_toolbox.datasets.utkface import ages, is_valid

ENDINGS = [".jpg.chip.jpg", ".jpg", ".pg.chip.jpg"]
BAD = [
    "39_1_20170116174525125.jpg.chip.jpg",  # three that are in the official archive
    "61_1_20170109142408075.jpg.chip.jpg",
    "53__0_20170116184028385.jpg.chip.jpg",
    "26_2_1_20170116184028385.jpg",
    "26_1_5_20170116184028385.jpg",
    "117_1_4_20170116184028385.jpg",
    "face.jpg",
]


def face_name(number):
    date = f"20170116{number:09d}"
    return f"{number % 90 + 1}_{number % 2}_{number % 5}_{date}{ENDINGS[number % 3]}"


def write(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "jpeg")


@pytest.fixture
def faces(tmp_path):
    for number in range(180):
        folder = ["UTKFace", "UTKFace/UTKFace", "UTKFace/deep/part1"][number % 3]
        write(tmp_path / folder / face_name(number), number)
    return tmp_path


def build(path, **options):
    options = {"dataset_path": path, "num_workers": 0, "image_size": 16} | options
    return DATASETS.build("UTKFace", **options)


def parts_of(bundle):
    return [bundle.train, bundle.val, bundle.test]


def test_names_are_read(faces, check_bundle):
    bundle = build(faces)
    check_bundle(bundle)
    assert [len(part) for part in parts_of(bundle)] == [126, 27, 27]
    assert bundle.classes == ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60+")
    for part in parts_of(bundle):
        expected = [int(name.rpartition("/")[2].split("_")[0]) for name in part.names]
        assert ages(part.names).tolist() == expected
        assert part.targets.tolist() == [min(age // 10, 6) for age in expected]


@pytest.mark.parametrize(("target", "column", "count"), [("gender", 1, 2), ("race", 2, 5)])
def test_other_targets(faces, check_bundle, target, column, count):
    bundle = build(faces, target=target)
    check_bundle(bundle)
    assert bundle.num_classes == count
    for part in parts_of(bundle):
        fields = [int(name.rpartition("/")[2].split("_")[column]) for name in part.names]
        assert part.targets.tolist() == fields
        shares = np.bincount(part.targets, minlength=count) / len(part)
        assert shares == pytest.approx(np.full(count, 1 / count), abs=0.06)


def test_splits_are_seeded(faces):
    first, again, other = build(faces), build(faces), build(faces, split_seed=1)
    assert first.test.names == again.test.names != other.test.names
    whole = [name for part in parts_of(other) for name in part.names]
    assert sorted(whole) == sorted(name for part in parts_of(first) for name in part.names)
    assert build(faces, val_size=0).val is None
    with pytest.raises(BadShare):
        build(faces, test_size=0.999)


def test_age_groups(faces):
    bundle = build(faces, age_groups=(0, 18, 65), pack="never")
    assert bundle.classes == ("0-17", "18-64", "65+")
    expected = np.digitize(ages(bundle.train.names), [18, 65])
    assert bundle.train.targets.tolist() == expected.tolist()


def test_groups_without_anybody_are_named(faces, caplog):
    build(faces, age_groups=(0, 30, 110), pack="never")
    assert "UTKFace: no image at all: 1 class, '110+'" in caplog.text


@pytest.mark.parametrize("groups", [(), (5, 10), (0, 10, 10), (0, 20, 10), (0, 1.5), ("0", "a")])
def test_wrong_age_groups(faces, groups):
    with pytest.raises(
        ValueError, match="^age_groups=.*: must be (the youngest age|a list of int)"
    ):
        build(faces, age_groups=groups)


def test_bad_names_are_listed_and_left_out(faces, check_bundle, caplog):
    for name in BAD:
        write(faces / "UTKFace" / name)
    with caplog.at_level(logging.WARNING):
        bundle = build(faces)
    check_bundle(bundle)
    (record,) = [record for record in caplog.records if "left out" in record.getMessage()]
    message = record.getMessage()
    assert message.startswith(f"{len(BAD)} files in")
    assert sum(name in message for name in BAD) == 5
    assert message.endswith("…")
    assert sum(len(part) for part in parts_of(bundle)) == 180


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name):
    assert not is_valid(name)


def test_a_face_is_taken_once(faces):
    for number in range(0, 180, 3):  # another crop of the same photos
        stem = face_name(number).split(".")[0]
        write(faces / "UTKFace/crop_part1" / f"{stem}.jpg.chip.jpg", 1000 + number)
    bundle = build(faces)
    assert sum(len(part) for part in parts_of(bundle)) == 180


def test_missing_data_says_what_to_do(tmp_path):
    with pytest.raises(DatasetNotFound) as caught:
        build(tmp_path)
    for part in [
        "UTKFace is not in",
        str(tmp_path),
        "UTKFace.tar.gz",
        "the dataset digits",
        "root=<folder of images>",
    ]:
        assert part in str(caught.value)
    write(tmp_path / "UTKFace/face.jpg")
    with pytest.raises(DatasetNotFound, match=r"holds no image named \[age\]"):
        build(tmp_path)


@pytest.mark.parametrize("archive", ["UTKFace.tar.gz", "utkface-new.zip", "UTKFace/part1.tar.gz"])
def test_archives_are_unpacked(faces, tmp_path_factory, check_bundle, archive):
    path = tmp_path_factory.mktemp("data")
    (path / archive).parent.mkdir(exist_ok=True)
    files = sorted((faces / "UTKFace").rglob("*.jpg"))
    if archive.endswith("zip"):
        with zipfile.ZipFile(path / archive, "w") as zipped:
            for file in files:
                zipped.write(file, file.relative_to(faces))
    else:
        with tarfile.open(path / archive, "w:gz") as tar:
            for file in files:
                tar.add(file, file.relative_to(faces))
    bundle = build(path)
    check_bundle(bundle)
    assert sum(len(part) for part in parts_of(bundle)) == 180
    assert [entry for entry in (path / "UTKFace").iterdir() if entry.name.startswith(".")] == []


@pytest.mark.parametrize("folder", ["crop_part1", "UTKface_inthewild/part1"])
def test_other_folders(tmp_path, folder, check_bundle):
    for number in range(60):
        write(tmp_path / folder / face_name(number), number)
    check_bundle(build(tmp_path, age_groups=(0, 30)))


@pytest.mark.parametrize("content", [{"bomb": bytes(120_000_000)}, {"readme.txt": b"no images"}])
def test_archives_without_images_leave_nothing_behind(tmp_path, content):
    (tmp_path / "UTKFace").mkdir()
    with zipfile.ZipFile(tmp_path / "UTKFace/part1.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, bytes_ in content.items():
            zipped.writestr(name, bytes_)
    with pytest.raises(BadArchive, match=r"part1.zip") as caught:
        build(tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "UTKFace").iterdir()] == ["part1.zip"]
