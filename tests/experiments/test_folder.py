"""Pretraining on a folder of images as people have it."""

import os

import numpy as np
from PIL import Image

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
