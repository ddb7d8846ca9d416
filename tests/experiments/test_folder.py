"""Pretraining on a folder of images as people have it."""

import os

import numpy as np
import pytest
from PIL import Image

from dal_toolbox.errors import UserError

NAMES = [
    "a b, c=[d]",
    "two\nlines",
    "\u202eturned",
    "\x1b[31mred",
    "Käse 🧀",
    os.fsdecode(b"M\xfcller"),
]


def test_a_flat_folder_without_labels(run_main, ssl_options, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for row in range(60):
        path = tmp_path / "photos" / f"{NAMES[row % len(NAMES)]} {row}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    for name, value in (("LANG", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(name, value)
    options = [option for option in ssl_options if not option.startswith("dataset=")]
    place = [f"output_dir={tmp_path / 'run'}", f"dataset_path={tmp_path / 'data'}"]
    source = ["dataset=folder", f"dataset.root={tmp_path / 'photos'}"]
    process = run_main(
        "ssl", *options, *source, *place, "model.n_epochs=1", "model.train_batch_size=32", "tsne=20"
    )
    assert "60 images without labels (60 train)" in process.stderr
    assert "\x1b[31m" not in process.stderr
    written = (tmp_path / "run/data/train.txt").read_bytes()
    assert written.count(b"\n") == 60
    (tmp_path / "photos/train.txt").write_bytes(written)  # the split of a run is one to read
    process = run_main("features", *source, place[1], "encoder=small", "encoder.width=8",
                       "splits=[train]", f"feature_dir={tmp_path / 'f'}",
                       f"output_dir={tmp_path / 'embedded'}")  # fmt: skip
    assert "60 images without labels (60 train)" in process.stderr


def test_a_simulation_without_labels_is_refused_before_the_work(run_inside, tmp_path):
    np.save(tmp_path / "train.npy", np.random.default_rng(0).normal(size=(30, 4)))
    run = ("active_learning", f"features={tmp_path}", f"output_dir={tmp_path / 'run'}")
    with pytest.raises(UserError, match="30 of 30 items of the pool have no label.* oracle=file"):
        run_inside(*run)
    assert (run_inside(*run, "oracle=file") / "to_label.csv").exists()
