import logging
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from dal_toolbox.errors import UserError
from dal_toolbox.features import FeatureStore, dataset_features, read_features

VALUES = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
TARGETS = np.arange(30) % 3


def write_npy(folder, split, values=VALUES, targets=TARGETS):
    np.save(folder / f"{split}.npy", values)
    np.save(folder / f"{split}_targets.npy", targets)


def write_npz(folder, split):
    np.savez(folder / f"{split}.npz", features=VALUES.astype(np.float64), labels=TARGETS)


def write_pt(folder, split):
    tensors = {"embeddings": torch.from_numpy(VALUES), "targets": torch.from_numpy(TARGETS)}
    torch.save(tensors, folder / f"{split}.pt")


@pytest.fixture
def folder(tmp_path):
    """A folder with both splits."""
    folder = tmp_path / "features"
    folder.mkdir()
    for split in ("train", "test"):
        write_npy(folder, split)
    return folder


@pytest.fixture
def read(tmp_path):
    """Reads a whole dataset."""

    def read(path, **options):
        store = FeatureStore(tmp_path / "store")
        return dataset_features(str(path), make_bundle=None, store=store, **options)

    return read


@pytest.mark.parametrize("write", [write_npy, write_npz, write_pt])
def test_every_form_gives_the_same_features(write, tmp_path):
    write(tmp_path, "train")
    features = read_features(tmp_path, "train")
    np.testing.assert_array_equal(features.values.numpy(), VALUES)
    np.testing.assert_array_equal(features.targets.numpy(), TARGETS)
    assert features.names[2] == "train/2"


WHOLE = np.round(VALUES * 10) + 40


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", ">f4", ">i2"]
)
@pytest.mark.parametrize("targets", ["i1", "u1", "u2", "u4", "u8", "f4", ">i8", "U3", "S3"])
def test_numbers_of_every_type_are_taken(folder, dtype, targets):
    write_npy(folder, "train", WHOLE.astype(dtype), TARGETS.astype(targets))
    features = read_features(folder)
    np.testing.assert_array_equal(features.values.float().numpy(), WHOLE)
    assert features.values.dtype == (torch.float16 if dtype == "f2" else torch.float32)
    np.testing.assert_array_equal(features.targets.numpy(), TARGETS)


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float64, torch.uint8, torch.uint16, torch.int32]
)
def test_tensors_of_every_type_are_taken(tmp_path, dtype):
    values = torch.from_numpy(WHOLE).to(dtype)
    targets = torch.from_numpy(TARGETS).to(torch.uint16)
    torch.save({"features": values, "targets": targets}, tmp_path / "train.pt")
    features = read_features(tmp_path)
    assert torch.equal(features.values, torch.from_numpy(WHOLE))
    np.testing.assert_array_equal(features.targets.numpy(), TARGETS)


def test_tensors_with_gradient_and_bare_tensors(tmp_path):
    weight = torch.nn.Parameter(torch.from_numpy(VALUES))
    torch.save({"features": weight, "targets": list("abc") * 10}, tmp_path / "train.pt")
    features = read_features(tmp_path)
    assert not features.values.requires_grad
    assert (features.classes, features.targets.tolist()) == (("a", "b", "c"), TARGETS.tolist())
    torch.save(torch.from_numpy(VALUES), tmp_path / "train.pt")
    assert read_features(tmp_path).targets.tolist() == [-1] * 30


def test_a_dataset_of_files_needs_no_images_and_keeps_its_graph(folder, read):
    (folder / "train_names.txt").write_text("\n".join(f"n{row}" for row in range(30)))
    data = read(folder)
    assert data.num_classes == 3
    assert data.train.names[29] == "n29"
    data.train.neighbors(4)
    again = read(folder)
    assert again.train.directory == data.train.directory
    assert (again.train.directory / "neighbors" / "cosine").exists()


def test_neither_labels_nor_a_test_split_are_needed(folder, read):
    for name in ("train_targets.npy", "test.npy"):
        (folder / name).unlink()
    data = read(folder)
    assert data.test is None
    assert data.train.targets.tolist() == [-1] * 30
    assert (data.classes, data.num_classes) == ((), 0)
    assert set(data.facts) == {"training data"}


def test_one_file_is_enough(folder, read):
    (folder / "train_names.txt").write_text("\n".join(f"n{row}" for row in range(30)))
    data = read(folder / "train.npy")
    assert (data.name, data.test, data.num_classes) == ("train", None, 3)
    assert data.train.names[3] == "n3"


def test_ids_of_any_size_become_classes_of_both_splits(folder, read, caplog):
    ids = np.array([0, 10**6, 2 * 10**6])
    write_npy(folder, "train", targets=ids[TARGETS])
    write_npy(folder, "test", targets=np.where(TARGETS == 1, 7, ids[TARGETS]))
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        data = read(folder)
    assert data.classes == data.test.classes == ("0", "7", "1000000", "2000000")
    assert data.train.targets.tolist() == [[0, 2, 3][t] for t in TARGETS]
    assert data.test.targets.tolist() == [[0, 1, 3][t] for t in TARGETS]
    assert "1 of 4 classes are in the test features only and cannot be learned: '7'" in caplog.text
    assert "30 rows of length 5, 30 labels of 3 classes" in caplog.text


def test_labels_may_be_words_in_a_text_file(folder, read):
    for split in ("train", "test"):
        (folder / f"{split}_targets.npy").unlink()
        words = [["Käse", "a, b=[c]", ""][t] for t in TARGETS]
        (folder / f"{split}_targets.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    data = read(folder)
    assert data.classes == ("Käse", "a, b=[c]") or data.classes == ("a, b=[c]", "Käse")
    assert (data.train.targets >= 0).tolist() == (TARGETS < 2).tolist()


def test_names_in_any_bytes_survive(folder):
    names = [f"{row}" for row in range(30)]
    names[:4] = ["caf\udce9", "a,b=[c] \u202e", "x\x0cy\x85z\u2028", " "]
    (folder / "train_names.txt").write_bytes("\n".join(names).encode(errors="surrogateescape"))
    assert read_features(folder).names == names
    (folder / "train_names.json").write_text(
        '["two\\nlines"' + "".join(f', "{n}"' for n in range(29)) + "]"
    )
    assert read_features(folder).names[0] == "two\nlines"


def test_the_key_follows_the_content_and_not_the_place(folder, tmp_path, read):
    first = read(folder).train
    content = first.content(np.arange(30))
    copy = tmp_path / "moved"
    os.renames(folder, copy)
    for file in copy.iterdir():
        os.utime(file, (1, 1))
    again = read(copy).train
    assert (again.key, again.directory) == (first.key, first.directory)
    write_npy(copy, "train", targets=TARGETS[::-1])
    relabeled = read(copy).train
    assert relabeled.key != first.key
    assert relabeled.directory == first.directory  # the neighbors are the same
    status = (copy / "train.npy").stat()
    write_npy(copy, "train", values=VALUES[::-1])  # as large as before
    os.utime(copy / "train.npy", ns=(status.st_atime_ns, status.st_mtime_ns))
    reordered = read(copy).train
    assert reordered.key != first.key
    assert reordered.directory != first.directory
    assert reordered.content(np.arange(30)) == content[::-1]


def test_rows_that_are_not_finite_are_named_or_left_out(folder, read, caplog):
    values = VALUES.copy()
    values[[4, 7, 9, 20], [0, 1, 2, 3]] = [np.nan, np.inf, -np.inf, np.nan]
    write_npy(folder, "train", values)
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "4 of 30 rows in" in str(caught.value)
    assert "'train/4', 'train/7', 'train/9', …; on_error=skip leaves them out" in str(caught.value)
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        train = read(folder, on_error="skip").train
    assert "4 of 30 rows" in caplog.text
    kept = np.delete(np.arange(30), [4, 7, 9, 20])
    np.testing.assert_array_equal(train.values.numpy(), values[kept])
    np.testing.assert_array_equal(train.targets.numpy(), TARGETS[kept])
    assert train.names == [f"train/{row}" for row in kept]
    assert train.neighbors(3).k == 3
    with pytest.raises(ValueError, match="on_error='drop': choose one of raise, skip"):
        read(folder, on_error="drop")


def test_numbers_too_large_for_float32_are_named(folder, read):
    write_npy(folder, "test", VALUES.astype(np.float64) * 1e39)
    with pytest.raises(UserError, match=r"test.npy hold .* too large for float32: 'test/0'"):
        read(folder)
    write_npy(folder, "test", np.full((30, 5), np.nan))
    with pytest.raises(UserError, match="30 of 30 rows"):
        read(folder, on_error="skip")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch /tmp/hostile",)


def write_nested(file):
    """A list in a list in a list …, deeper than the pickler of Python writes."""
    torch.save({"features": [0]}, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    depth = 100_000
    deep = b"\x80\x02}X\x08\x00\x00\x00features" + b"]" * depth + b"a" * (depth - 1) + b"s."
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, deep if name.endswith("data.pkl") else content)


SAFETY = "it holds objects other than arrays and tensors, which are not loaded for safety"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "train.npy").unlink(), "no features of 'train'"),
        (lambda f: (f / "train.npy").write_bytes(b"not"), "cannot read features from .*train.npy"),
        (lambda f: (f / "train.npy").write_bytes(b""), "cannot read features from .*train.npy"),
        (lambda f: np.save(f / "train.npy", VALUES[:7]), r"targets .*shape \(30,\); wanted \(7,\)"),
        (lambda f: np.save(f / "train.npy", VALUES[0]), r"wanted real numbers of shape \(n, d\)"),
        (lambda f: np.save(f / "train.npy", VALUES[:0]), r"wanted real numbers of shape \(n, d\)"),
        (lambda f: np.save(f / "train.npy", VALUES + 1j), "wanted real numbers"),
        (lambda f: np.save(f / "train.npy", VALUES.astype("U")), "cannot read features"),
        (lambda f: np.save(f / "train.npy", VALUES.astype(object)), SAFETY),
        (lambda f: np.save(f / "train_targets.npy", TARGETS / 2), "label 0.5 is no whole number"),
        (lambda f: np.save(f / "train_targets.npy", TARGETS.astype(object)), SAFETY),
        (lambda f: np.save(f / "train_targets.npy", TARGETS[:, None]), r"wanted \(30,\)"),
        (lambda f: (f / "train_targets.npy").write_bytes(b"?"), "cannot read targets from"),
        (lambda f: np.save(f / "test.npy", VALUES[:, :2]), "train has length 5, test 2"),
        (lambda f: (f / "train_names.txt").write_text("a\n"), "1 names for 30 features"),
        (lambda f: (f / "train_names.json").write_text("[" * 10**5), "nested too deep"),
        (lambda f: (f / "train_names.json").write_text("[1]"), "wanted a list of strings"),
        (lambda f: f.rename(f.with_name("gone")), "source=.*: choose encoder, untrained, raw, or"),
    ],
)
def test_mistakes_are_named(folder, read, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda f: f.write_bytes(pickle.dumps(Hostile())), SAFETY),
        (lambda f: torch.save({"features": Hostile()}, f), SAFETY),
        (lambda f: f.write_bytes(pickle.dumps({"features": VALUES})), SAFETY),
        (lambda f: torch.save({"features": torch.nn.Linear(2, 2)}, f), SAFETY),
        (lambda f: f.write_bytes(b"garbage" * 100), "no file of torch.save"),
        (lambda f: f.write_bytes(b""), "cannot read features"),
        (
            lambda f: (write_pt(f.parent, f.stem), f.write_bytes(f.read_bytes()[:-300])),
            "cannot read",
        ),
        (write_nested, "cannot read features"),
        (lambda f: torch.save({"a": torch.zeros(2, 2), 3: 4}, f), "holds a, 3; wanted one of"),
        (lambda f: torch.save([1, "x"], f), "cannot read features"),
        (lambda f: torch.save({"features": torch.eye(3).to_sparse()}, f), "wanted real numbers"),
        (lambda f: torch.save({"features": {"x": 1}}, f), "cannot read features"),
    ],
)
def test_files_of_torch_that_are_refused(tmp_path, write, message):
    write(tmp_path / "train.pt")
    with pytest.raises(UserError, match=message) as caught:
        read_features(tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert "weights_only" not in text
    assert "allow_pickle" not in text


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n")
    with pytest.raises(UserError, match=r"x.csv is none of \.npy, \.npz, \.pt, \.pth"):
        read_features(tmp_path / "x.csv")
