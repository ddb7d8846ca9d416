"""The whole way of a newcomer, from a shell: photos without labels, a person, a report."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

CLASSES = ("dark", "bright", "red")


@pytest.fixture
def photos(tmp_path):
    """300 JPEGs in one flat folder; the number in a name tells the class."""
    folder, rng = tmp_path / "my photos", np.random.default_rng(0)
    folder.mkdir()
    for i in range(300):
        base = {0: (40, 40, 40), 1: (210, 210, 210), 2: (200, 30, 30)}[i % 3]
        pixels = np.clip(rng.normal(base, 25, (24, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"photo {i}.jpg", quality=90)
    return folder


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def truth(name):
    return CLASSES[int(name.removeprefix("photo ").removesuffix(".jpg")) % 3]


def fill_in(table, special=(), more=()):
    """Answers as a person does; returns the files of the table."""
    rows = rows_of(table)
    for row in rows:
        row["label"] = dict(special).get(row["file"], truth(row["file"]))
    rows += [{"file": name, "label": label, "path": ""} for name, label in more]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "label", "path"])
        writer.writeheader()
        writer.writerows(rows)
    return [row["file"] for row in rows[: len(rows) - len(more)]]


def test_from_photos_to_a_report(run_main, photos, tmp_path):
    data = ("dataset=folder", f"dataset.root={photos}", f"dataset_path={tmp_path / 'data'}")
    run_main(
        "ssl", *data, "ssl_model=simclr", "model.encoder=small", "encoder.width=8",
        "model.n_epochs=1", "model.train_batch_size=100", f"output_dir={tmp_path / 'ssl'}",
    )  # fmt: skip
    assert len((tmp_path / "ssl" / "data" / "train.txt").read_text().splitlines()) == 300

    folder = tmp_path / "al"
    label = (
        "active_learning", *data, f"encoder_checkpoint={tmp_path / 'ssl'}", "oracle=file",
        f"feature_dir={tmp_path / 'features'}", "strategy=typiclust", "num_initial=20",
        "query_size=20", f"output_dir={folder}",
    )  # fmt: skip
    said = run_main(*label, "num_cycles=1").stderr
    assert "the first 20 items are chosen by the strategy itself" in said
    assert "20 of 20 labels are wanted in" in said
    table = folder / "to_label.csv"
    asked = rows_of(table)
    assert len(asked) == 20
    assert all((photos / row["file"]).samefile(row["path"]) for row in asked)
    assert (folder / "to_label.png").stat().st_size > 10_000

    first = fill_in(table, special={asked[0]["file"]: "?", asked[1]["file"]: "strange thing"})
    said = run_main(*label, "num_cycles=1").stderr
    assert "new class 'strange thing'" in said
    second = fill_in(table, more=[(first[2], "corrected")])
    run_main(*label, "num_cycles=1")
    assert json.loads((folder / "results.json").read_text())["num_labeled"] == 39

    run_main(*label, "num_cycles=2")  # extended
    third = fill_in(table)
    run_main(*label, "num_cycles=2")
    shown = {row["file"]: row["label"] for row in rows_of(folder / "picks.csv")}
    assert list(shown) == first + second + third
    assert len(shown) == 60
    special = {first[0]: "?", first[1]: "strange thing", first[2]: "corrected"}
    assert all(label == special.get(name, truth(name)) for name, label in shown.items())

    process = run_main("report", f"runs={folder}", status=2)
    assert "error: " in process.stderr  # nothing was measured: there is no labeled test image
    assert "Traceback" not in process.stderr


def test_a_mixed_sweep_is_reported_in_right_pairs(run_main, tmp_path):
    run_main(
        "active_learning", "-m", "dataset=digits", "features=raw", "initial=random", "num_cycles=2",
        "strategy=random,margin", "classifier=linear,knn", "random_seed=range(3)", "output_dir=out",
        cwd=tmp_path,
    )  # fmt: skip
    run_main("report", "runs=out", cwd=tmp_path)
    rows = rows_of(tmp_path / "out" / "summary.csv")
    assert len(rows) == 4
    assert {int(row["seeds"]) for row in rows} == {3}
    areas = {}
    for file in (tmp_path / "out").glob("*/results.json"):
        area = json.loads(file.read_text())["area_under_learning_curve"]
        name = file.parent.name
        key = ("margin" if "margin" in name else "random", "knn" if "knn" in name else "linear")
        areas.setdefault(key, {})[name.rpartition("-")[2]] = area
    for row in rows:
        if row["strategy"] != "margin":
            continue
        kind = "knn" if "knn" in row["setting"] else "linear"
        pairs = areas["margin", kind], areas["random", kind]
        true = np.mean([pairs[0][seed] - pairs[1][seed] for seed in pairs[0]])
        assert float(row["difference"]) == pytest.approx(true, abs=1e-6)
