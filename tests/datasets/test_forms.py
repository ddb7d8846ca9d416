"""How a folder is meant: splits, classes, or unclear; and what is said about it."""

import logging
import os
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from dal_toolbox.datasets._form import MAYBE_CLASSES, Form, UnclearFolder, find_form
from dal_toolbox.datasets._index import SYSTEM_FOLDERS, survey
from dal_toolbox.datasets._layout import FOREIGN, read_layout
from dal_toolbox.datasets._roles import WORDS, split_of_name
from dal_toolbox.datasets.folder import folder
from dal_toolbox.datasets.split_files import BadSplitFile, split_lines
from dal_toolbox.errors import UserError
from dal_toolbox.io import write_text


@pytest.fixture
def make(tmp_path):
    """Makes files from paths; nothing is decoded here."""

    def make(*paths):
        root = tmp_path / "root"
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return root

    return make


def sizes(layout):
    return {split: len(rows) for split, rows in layout.splits.items()}


SPELLINGS = [
    ("Training", "Testing"),
    ("train", "Test"),
    ("TRAIN", "VALID"),
    ("train_set", "test-set"),
    ("train2017", "val2017"),
    ("train", "test1"),
    ("train_images", "unlabelled"),
    ("trainset", "dev"),
    ("training_set/training_set", "test_set/test_set"),
    ("train/Train", "test"),
]


@pytest.mark.parametrize("names", SPELLINGS)
@pytest.mark.parametrize("above", ["", "archive/", "a/b c/"])
def test_spellings_of_split_folders(make, names, above):
    root = make(*(f"{above}{name}/{c}/{c}.jpg" for name in names for c in ("cat", "dog")))
    layout = read_layout(root)
    assert layout.classes == ("cat", "dog")
    assert sizes(layout) == {"train": 2, split_of_name(names[1].split("/")[0]): 2}
    assert all(name.startswith(above) for name in layout.names)


UNCLEAR = {
    "val and test alone": ["val/a/1.jpg", "test/a/1.jpg"],
    "test alone": ["test/a/1.jpg", "test/b/1.jpg"],
    "a split among classes": ["a/1.jpg", "b/1.jpg", "test/a/2.jpg"],
    "test images among classes": ["a/1.jpg", "b/1.jpg", "Testing/1.jpg"],
    "train and another name": ["train/a/1.jpg", "holdout/a/1.jpg"],
    "a split twice": ["train/a/1.jpg", "val/a/1.jpg", "valid/a/2.jpg"],
    "names that contain splits": ["cifar_train/a/1.jpg", "cifar_test/a/1.jpg"],
    "some names that contain splits": [f"seg_{s}/a/1.jpg" for s in ("train", "test", "pred")],
    "several datasets": ["one/train/a/1.jpg", "one/test/a/1.jpg", "two/a/1.jpg"],
    "splits below classes": [f"{c}/{s}/1.jpg" for c in "ab" for s in ("train", "test")],
}


@pytest.mark.parametrize("paths", UNCLEAR.values(), ids=UNCLEAR)
def test_what_is_unclear_is_refused_by_name(make, paths):
    root = make(*paths)
    with pytest.raises(UnclearFolder, match=f"^root={root}: '.*Wanted: train/<class>") as caught:
        read_layout(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("paths", UNCLEAR.values(), ids=UNCLEAR)
def test_split_files_make_everything_clear(make, paths):
    root = make(*paths)
    (root / "train.txt").write_text("\n".join(paths))
    assert sizes(read_layout(root)) == {"train": len(paths)}


@pytest.mark.parametrize(
    "classes",
    [("bus", "car", "train"), ("invalid", "valid"), ("dev", "prod"), ("tested", "trainer")],
)
def test_classes_that_sound_like_splits(make, classes):
    root = make(*(f"{name}/{i}.jpg" for name in classes for i in range(2)))
    assert read_layout(root).classes == classes


def test_a_class_may_be_called_as_the_split_that_holds_it(make):
    root = make("train/bus/1.jpg", "train/train/1.jpg", "test/train/1.jpg", "test/bus/1.jpg")
    assert read_layout(root).classes == ("bus", "train")


def test_twofold_folders_without_classes(make):
    layout = read_layout(make("train/train/1.jpg", "train/train/2.jpg", "test1/test1/3.jpg"))
    assert layout.classes == ()
    assert sizes(layout) == {"train": 2, "test": 1}


def test_every_word_is_a_split_beside_train_and_never_a_class(make):
    for split, words in WORDS.items():
        for word in words:
            for name in (word, word.upper(), word.title(), f"{word}_set", f"{word}2"):
                assert split_of_name(name) == split
                if split != "train":
                    form = find_form(["train/a", f"{name}/a"])
                    assert form.splits == {"train": "train", name: split}


def test_unlabeled_beside_classes(make):
    layout = read_layout(make("cat/1.jpg", "dog/1.jpg", "Unlabeled/1.jpg", "Unlabeled/x/2.jpg"))
    assert layout.classes == ("cat", "dog")
    assert sizes(layout) == {"train": 2, "unlabeled": 2}
    assert (layout.targets[layout.splits["unlabeled"]] == -1).all()


def test_one_class_below_one_folder_stays_one_class(make, caplog):
    layout = read_layout(make("vehicles/bus/1.jpg", "vehicles/train/1.jpg", "vehicles/car/1.jpg"))
    assert layout.classes == ("vehicles",)
    assert (
        "'vehicles' is the only class; if the classes are the folders in it ('bus'" in caplog.text
    )
    assert find_form(["", "vehicles/bus"]) == Form()
    assert find_form(["/".join("a" * 2000)]) == Form()


def test_folders_of_systems_are_never_classes(make, caplog):
    paths = [f"{name.upper()}/thumb.jpg" for name in SYSTEM_FOLDERS]
    hidden = [".git/a.jpg", ".Trash-1000/a.jpg", "cat/@eaDir/cat.jpg", "dog/.cache/a.jpg"]
    layout = read_layout(make("cat/1.jpg", "dog/1.jpg", *paths, *hidden))
    assert layout.names == ["cat/1.jpg", "dog/1.jpg"]
    assert layout.classes == ("cat", "dog")
    assert "and 9 more (a folder of the operating system)" in layout.left_out[0]


def test_runs_below_the_folder_are_no_data(make):
    runs = ["output/config_resolved.yaml", "output/plots/pretraining.png", "output/map.png"]
    layout = read_layout(make("1.jpg", "2.jpg", *runs))
    assert (layout.names, layout.classes) == (["1.jpg", "2.jpg"], ())
    assert layout.left_out == ("'output' (a run folder)",)


def test_folders_beside_split_folders_are_named(make, caplog):
    layout = read_layout(make("train/a/1.jpg", "test/a/1.jpg", "docs/figure.png", "x.png"))
    assert len(layout.names) == 2
    assert "left out: 2 images beside the split folders, 'docs/figure.png', 'x.png'" in caplog.text


def test_a_class_that_cannot_be_read_stays_a_class(make, caplog):
    foreign = [f"dog/{row}{end.upper()}" for row, end in enumerate(sorted(FOREIGN))]
    layout = read_layout(make("cat/1.jpg", "cow/1.jpg", "meta/labels.csv", *foreign))
    assert layout.classes == ("cat", "cow", "dog")
    assert layout.targets.tolist() == [0, 1]
    assert f"left out: {len(FOREIGN)} images in formats that cannot be read (.arw" in caplog.text
    assert "in 'dog'; convert to JPEG" in caplog.text
    assert "1 other file" in layout.left_out


def test_an_empty_class_is_named(make, caplog):
    root = make("cat/1.jpg", "cow/1.jpg")
    (root / "dog").mkdir()
    (root / "ape/deep").mkdir(parents=True)
    assert read_layout(root).classes == ("cat", "cow")
    assert "empty: 2 class folders, 'ape', 'dog'" in caplog.text


def test_datasets_of_several_domains_are_taken_with_a_warning(make, caplog):
    paths = [f"{domain}/{c}/1.jpg" for domain in ("photo", "sketch") for c in ("cat", "dog")]
    assert read_layout(make(*paths)).classes == ("photo", "sketch")
    assert "'photo', 'sketch' are taken for classes" in caplog.text


@pytest.mark.parametrize(
    "names",
    [("Train.txt", "valid.txt"), ("TRAIN.TXT", "validation.txt"), ("training.txt", "dev.txt")],
)
def test_spellings_of_split_files(make, names):
    root = make("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")
    (root / names[0]).write_text("cat/1.jpg\n")
    (root / names[1]).write_text("dog/1.jpg\n")
    layout = read_layout(root)
    assert sizes(layout) == {"train": 1, "val": 1}
    assert layout.left_out[-1] == "1 image in no split file"


def test_split_files_that_contradict(make):
    root = make("cat/1.jpg", "val.txt", "valid.txt")
    with pytest.raises(BadSplitFile, match=r"val.txt and valid.txt both list images for val"):
        read_layout(root)


def test_lists_that_are_not_read_are_named(make, caplog):
    names = [
        "train.csv",
        "Test.tsv",
        "val.json",
        "train_labels.csv",
        "test_list.txt",
        "notes.txt",
        "classes.txt",
    ]
    read_layout(make("cat/1.jpg", *names))
    assert (
        "not read: Test.tsv, test_list.txt, train.csv, train_labels.csv, val.json; splits"
        in caplog.text
    )


@pytest.mark.parametrize("links", [["a/x", "b/y"], ["l1", "l2", "a/l3", "b/l4"]])
def test_links_that_form_loops_are_followed_once(make, links):
    root = make("a/1.jpg", "b/2.jpg")
    for link in links:
        (root / link).symlink_to(
            root if len(links) == 4 else root / ("b" if link[0] == "a" else "a")
        )
    found = survey(root)
    assert found.images == {"a": ["a/1.jpg"], "b": ["b/2.jpg"]}
    assert set(found.left_out) == set(links)


def test_many_folders_full_of_links_to_each_other(make):
    root = make(*(f"{name}/1.jpg" for name in "abcdefghijkl"))
    for one in "abcdefghijkl":
        for other in "abcdefghijkl":
            (root / one / f"to_{other}").symlink_to(root / other)
    (root / "self").symlink_to("self")
    assert len(survey(root).images) == 12
    assert len(survey(root).left_out) == 145


def test_links_to_other_places_are_classes(make, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        (tmp_path / "elsewhere" / name / "1.jpg").touch()
    root = make("cow/1.jpg")
    (root / "cat").symlink_to(tmp_path / "elsewhere/cat")
    (root / "dog").symlink_to(tmp_path / "elsewhere/dog")
    (root / "also dog").symlink_to(tmp_path / "elsewhere/dog")
    (root / "cow/link.jpg").symlink_to(tmp_path / "elsewhere/cat/1.jpg")
    layout = read_layout(root)
    assert layout.classes == ("also dog", "cat", "cow")
    assert layout.names == ["also dog/1.jpg", "cat/1.jpg", "cow/1.jpg", "cow/link.jpg"]
    assert "'dog' (the same folder as also dog)" in layout.left_out


STRANGE = [
    "a b/c, d=e [f] {g}.jpg",
    " leading/ 1.jpg",
    "new\nline/two\nlines.jpg",
    "return\r/1.jpg",
    'quoted/"1".jpg',
    '"all/quoted".jpg',
    "\u202eturned/\u20661.jpg",
    "\x1b[31mred/1.jpg",
    "tab\there/1.jpg",
    "back\\slash/1.jpg",
    "#hash/~%41.jpg",
    "ä/Käse 🧀.jpg",
    "decomposed/a\u0308.jpg",
    os.fsdecode(b"M\xfcller/\xe4.jpg"),
    "line\u2028separator/\x0b\x0c.jpg",
]


def test_strange_names_survive_split_files(make):
    root = make(*STRANGE)
    names = read_layout(root).names
    assert set(names) == set(STRANGE)
    write_text(root / "train.txt", split_lines(names[::2]))
    write_text(root / "test.txt", split_lines(names[1::2]))
    layout = read_layout(root)
    for split, wanted in (("train", names[::2]), ("test", names[1::2])):
        assert [layout.names[row] for row in layout.splits[split]] == wanted
    folders = {name.rpartition("/")[0] for name in STRANGE}
    assert set(layout.classes) == folders - {"", "M\udcfcller"} | {"Müller"}
    "".join(layout.classes).encode()


def test_classes_whose_names_differ_in_their_encoding_stay_apart(make):
    names = [os.fsdecode("ä".encode(encoding)) for encoding in ("utf-8", "latin-1")]
    layout = read_layout(make(*(f"{name}/1.jpg" for name in names)))
    assert sorted(layout.classes) == ["\\xe4", "ä"]
    assert sorted(layout.targets) == [0, 1]


def test_the_locale_changes_nothing(make, tmp_path, write_image):
    root = make(*STRANGE)
    for seed, name in enumerate(STRANGE * 3):
        write_image(root / f"{name[:-4]} {seed}.jpg", seed)
        (root / name).unlink(missing_ok=True)
    code = (
        "import os, sys, pathlib; from dal_toolbox.datasets.folder import folder; "
        "made = folder(pathlib.Path(sys.argv[2]), 0, root=sys.argv[1]); "
        "print([os.fsencode(n) for n in made.train.names], ascii(made.classes), made.test.fingerprint)"
    )
    outputs = set()
    for locale in (
        {"LANG": "C.UTF-8"},
        {"LANG": "C", "PYTHONUTF8": "0"},
        {"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, str(root), str(tmp_path / "data")],
            env={**{k: v for k, v in os.environ.items() if not k.startswith("LC_")}, **locale},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert "M\\xfcller" in outputs.pop()


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "decomposed"], ids=str
)
@pytest.mark.parametrize("on_disk", ["utf-8", "latin-1"])
def test_split_files_of_other_systems(make, encoding, on_disk):
    root = make(os.fsdecode("Müller/ä é.jpg".encode(on_disk)), "plain/1.jpg")
    text = "Müller\\ä é.jpg\r\nplain\\1.jpg\r\n"
    if encoding == "decomposed":
        text, encoding = unicodedata.normalize("NFD", text), "utf-8"
    (root / "train.txt").write_bytes(text.encode(encoding))
    assert sizes(read_layout(root)) == {"train": 2}


@pytest.mark.parametrize("content", [b"\xff\xfea", b"\x00" * 100, b"PK\x03\x04\xff\xff"])
def test_split_files_that_are_no_text(make, content):
    root = make("cat/1.jpg")
    (root / "train.txt").write_bytes(content)
    with pytest.raises(BadSplitFile, match=r"train.txt") as caught:
        read_layout(root)
    str(caught.value).encode()


def test_what_is_found_is_said_in_one_line(tmp_path, write_image, caplog):
    root = tmp_path / "pets"
    for seed in range(20):
        write_image(root / ["cat", "dog"][seed % 2] / f"{seed}.png", seed)
    (root / "notes.txt").touch()
    (root / "@eaDir").mkdir()
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        folder(tmp_path / "data", 0, root=str(root))
    (line,) = [record.getMessage() for record in caplog.records if "images of" in record.message]
    assert line == (
        "pets: 20 images of 2 classes (16 train, 4 test); left out: "
        "1 other file, '@eaDir' (a folder of the operating system)"
    )
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


VOCABULARY = [
    "train", "Train", "training", "test", "Test1", "val", "valid", "unlabeled", "cat", "dog", "bus",
    "@eaDir", "__MACOSX", "my_train", "my_test", "images", "a b", "\u202ex", os.fsdecode(b"\xe4"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_any_tree_is_read_or_refused(tmp_path, seed):
    rng = np.random.default_rng(seed)
    read = 0
    for number in range(40):
        root = tmp_path / str(number)
        words = rng.choice(VOCABULARY, rng.integers(1, 6), replace=False).tolist()
        for _ in range(rng.integers(1, 12)):
            place = root.joinpath(*rng.choice(words, rng.integers(0, 4)).tolist())
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{rng.integers(5)}{rng.choice(['.jpg', '.jpg', '.heic', '.txt'])}").touch()
        if rng.random() < 0.3:
            (place / "link").symlink_to(root)
        try:
            layout = read_layout(root)
        except UserError as error:
            assert str(error).isprintable()
            continue
        read += 1
        _check_layout(root, layout)
    assert read > 10


def _check_layout(root, layout):
    rows = np.concatenate(list(layout.splits.values()))
    assert sorted(rows) == list(range(len(layout.names)))
    assert len(set(layout.names)) == len(layout.names)
    assert layout.targets.max() < max(len(layout.classes), 1)
    assert not {name.lower() for name in layout.classes} & SYSTEM_FOLDERS
    for name, target in zip(layout.names, layout.targets, strict=True):
        top, *deeper = name.split("/")[:-1] or [""]
        if target >= 0 and layout.classes[target] == top != "".join(deeper[:1]):
            assert split_of_name(top) is None or top.lower() in MAYBE_CLASSES
    seen = sum(map(len, survey(root).images.values()))
    left_out = sum(
        int(text.split()[0]) for text in layout.left_out if re.match(r"\d+ image.? (b|in no)", text)
    )
    assert len(layout.names) + left_out == seen
