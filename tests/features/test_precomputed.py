import numpy as np
import pytest
import torch

from dal_toolbox.errors import UserError
from dal_toolbox.features import FeatureStore, dataset_features, read_features

VALUES = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
TARGETS = np.arange(30) % 3


def write_npy(folder, split):
    np.save(folder / f"{split}.npy", VALUES)
    np.save(folder / f"{split}_targets.npy", TARGETS)


def write_npz(folder, split):
    np.savez(folder / f"{split}.npz", features=VALUES.astype(np.float64), labels=TARGETS)


def write_pt(folder, split):
    tensors = {"embeddings": torch.from_numpy(VALUES), "targets": torch.from_numpy(TARGETS)}
    torch.save(tensors, folder / f"{split}.pt")


@pytest.mark.parametrize("write", [write_npy, write_npz, write_pt])
def test_every_form_gives_the_same_features(write, tmp_path):
    write(tmp_path, "train")
    features = read_features(tmp_path, "train")
    np.testing.assert_array_equal(features.values.numpy(), VALUES)
    np.testing.assert_array_equal(features.targets.numpy(), TARGETS)
    assert features.names[2] == "train/2"


def test_a_dataset_of_files_needs_no_images_and_keeps_its_graph(tmp_path):
    for split in ("train", "test"):
        write_npy(tmp_path, split)
    (tmp_path / "train_names.txt").write_text("\n".join(f"n{row}" for row in range(30)))
    store = FeatureStore(tmp_path / "store")
    data = dataset_features(str(tmp_path), make_bundle=None, make_encoder=None, store=store)
    assert data.num_classes == 3
    assert data.train.names[29] == "n29"
    data.train.neighbors(4)
    again = dataset_features(str(tmp_path), make_bundle=None, make_encoder=None, store=store)
    assert again.train.directory == data.train.directory
    assert (again.train.directory / "neighbors" / "cosine").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "train.npy").unlink(), "no features of 'train'"),
        (lambda f: (f / "train_targets.npy").unlink(), "cannot read features"),
        (lambda f: (f / "train.npy").write_bytes(b"not"), "cannot read features"),
        (lambda f: np.save(f / "train.npy", VALUES[:7]), r"wanted integers of shape \(7,\)"),
        (lambda f: np.save(f / "train.npy", VALUES.astype(int)), "wanted floating-point"),
        (lambda f: np.save(f / "train_targets.npy", TARGETS - 5), "go down to -5"),
        (lambda f: np.save(f / "train_targets.npy", TARGETS - 1), "every item of train needs"),
        (lambda f: np.save(f / "train_targets.npy", TARGETS / 2), "wanted integers"),
        (lambda f: np.save(f / "test.npy", VALUES[:, :2]), "train has length 5, test 2"),
        (lambda f: (f / "train_names.txt").write_text("a\n"), "1 lines for 30 features"),
        (lambda f: f.rename(f.with_name("gone")), "choose encoder, untrained, raw, or a folder"),
    ],
)
def test_mistakes_are_named(spoil, message, tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    for split in ("train", "test"):
        write_npy(folder, split)
    spoil(folder)
    with pytest.raises(UserError, match=message):
        dataset_features(
            str(folder), make_bundle=None, make_encoder=None, store=FeatureStore(tmp_path / "store")
        )
