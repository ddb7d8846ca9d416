"""A run that is taken up again: with more items, other data, more cycles, damaged files."""

import csv
import json

import numpy as np
import pytest

from dal_toolbox.errors import UserError

OPTIONS = ("strategy=margin", "num_initial=6", "query_size=4")


@pytest.fixture
def data(tmp_path):
    """Precomputed features of 60 items with names, and of 30 for the test."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "features"
    folder.mkdir()
    for split, n in (("train", 60), ("test", 30)):
        targets = np.arange(n) % 3
        save(folder, split, rng.normal(size=(n, 5)) + 2 * targets[:, None], targets)
    names(folder).write_text("".join(f"img_{i}.jpg\n" for i in range(60)))
    return folder


def save(folder, split, values, targets):
    np.save(folder / f"{split}.npy", values.astype(np.float32))
    np.save(folder / f"{split}_targets.npy", targets)


def names(folder):
    return folder / "train_names.txt"


@pytest.fixture
def run(run_inside, data, tmp_path):
    def go(*overrides):
        return run_inside(
            "active_learning", f"features={data}", f"feature_dir={tmp_path / 'store'}",
            f"output_dir={tmp_path / 'run'}", *OPTIONS, *overrides,
        )  # fmt: skip

    return go


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def picks(folder):
    return list(csv.DictReader((folder / "picks.csv").read_text().splitlines()))


def change(data, order):
    """Puts the training items into another order; -1 stands for a new item."""
    values, targets = np.load(data / "train.npy"), np.load(data / "train_targets.npy")
    old_names = names(data).read_text().splitlines()
    new = np.array(order) < 0
    save(
        data, "train", np.where(new[:, None], 9.0, values[order]), np.where(new, 2, targets[order])
    )
    names(data).write_text("".join(f"{'new' if i < 0 else old_names[i]}.x\n".replace(".jpg.x", ".jpg") for i in order))  # fmt: skip


def test_a_run_is_lengthened(run):
    folder = run("num_cycles=1")
    first = lines(folder / "results.jsonl")
    run("num_cycles=3")
    longer = lines(folder / "results.jsonl")
    assert longer[:2] == first
    assert [row["num_labeled"] for row in longer] == [6, 10, 14, 18]
    assert json.loads((folder / "results.json").read_text())["num_labeled"] == 18
    with pytest.raises(UserError, match="num_cycles: 3 -> 2"):
        run("num_cycles=2")


def test_picks_name_the_files(run):
    rows = picks(run("num_cycles=1"))
    assert [row["cycle"] for row in rows] == ["0"] * 6 + ["1"] * 4
    assert [row["order"] for row in rows] == [str(i) for i in range(1, 11)]
    assert all(int(row["file"][4:-4]) % 3 == int(row["label"]) for row in rows)


def test_items_may_be_added_anywhere(run, data):
    folder = run("num_cycles=1")
    before = picks(folder)
    change(data, [-1, *range(59, -1, -1)])
    run("num_cycles=3")
    after = picks(folder)
    assert after[:10] == before
    assert len({row["file"] for row in after}) == len(after) == 18
    assert all(
        int(row["file"][4:-4]) % 3 == int(row["label"]) for row in after if row["file"] != "new.x"
    )
    assert "grown from 60 to 61 items" in (folder / "main.log").read_text()


def test_other_data_are_refused(run, data):
    picked = [row["file"] for row in picks(run("num_cycles=1"))]
    old = names(data).read_text()
    change(data, range(59, -1, -1))
    with pytest.raises(UserError, match=r"begun with other training data .*only be added"):
        run("num_cycles=2")
    names(data).write_text(old)  # the rows are in another order now
    with pytest.raises(
        UserError, match=r"labels.jsonl, line \d+: 'img_\d+.jpg' has another content"
    ):
        run("num_cycles=2")
    change(data, range(59, -1, -1))
    names(data).write_text(old.replace(picked[0], "renamed.jpg"))
    with pytest.raises(UserError, match=f"'{picked[0]}' was asked for or labeled in this run"):
        run("num_cycles=2")


def test_a_refused_start_is_forgotten(run, data):
    folder = run("num_cycles=1")
    change(data, [-1, *range(60)])
    old = names(data).read_text()
    names(data).write_text(old.replace(picks(folder)[0]["file"], "renamed.jpg"))
    with pytest.raises(UserError, match=r"was asked for or labeled in this run"):
        run("num_cycles=2")
    names(data).write_text(old)
    change(data, range(1, 61))
    run("num_cycles=2")
    assert len(picks(folder)) == 14


KEPT = ("config_resolved.yaml", "results.json", "results.jsonl", "labels.jsonl", "stands_on.json")


def test_another_test_set_is_refused_and_changes_nothing(run, data):
    folder = run("num_cycles=1")
    save(data, "test", np.load(data / "test.npy")[::-1], np.load(data / "test_targets.npy")[::-1])
    before = {name: (folder / name).read_bytes() for name in KEPT}
    with pytest.raises(UserError, match="begun with another test data"):
        run("num_cycles=2")
    assert {name: (folder / name).read_bytes() for name in KEPT} == before


@pytest.mark.parametrize("options", [("num_cycles=0",), ("num_initial=60", "num_cycles=2")])
def test_only_first_labels(run, options):
    folder = run(*options)
    assert len(lines(folder / "results.jsonl")) == 1
    assert json.loads((folder / "results.json").read_text())["metrics"]["accuracy"] > 0


def test_the_end_is_made_again_where_it_is_damaged(run):
    folder = run("num_cycles=2")
    whole, results = (folder / "results.json").read_bytes(), (folder / "results.jsonl").read_bytes()
    (folder / "results.json").write_bytes(whole[:20])
    (folder / "plots" / "learning_curve.png").unlink()
    run("num_cycles=2")
    assert (folder / "results.json").read_bytes() == whole
    assert (folder / "results.jsonl").read_bytes() == results
    assert (folder / "plots" / "learning_curve.png").exists()


def test_a_changed_label_is_found(run):
    folder = run("num_cycles=2")
    rows = lines(folder / "results.jsonl")
    rows[1]["labels"][0] = (rows[1]["labels"][0] + 1) % 3
    for said in (
        "line 2 was changed after it was written",
        r"line 2: label \d of item \d+ is not in",
    ):
        (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(UserError, match=f"results.jsonl, {said}"):
            run("num_cycles=3")
        rows[1].pop("crc", None)


def test_strategies_that_can_start_by_themselves(run, run_inside, data, tmp_path):
    log = (run("num_cycles=0") / "main.log").read_text()
    assert "the first 6 items are chosen by random" in log
    folder = run_inside(
        "active_learning", f"features={data}", f"feature_dir={tmp_path / 'store'}",
        f"output_dir={tmp_path / 'other'}", "strategy=typiclust", "num_initial=6", "num_cycles=0",
    )  # fmt: skip
    assert "by the strategy itself" in (folder / "main.log").read_text()


def test_a_person_answers_by_a_table(run, data):
    (data / "train_targets.npy").unlink()
    table = run("oracle=file", "num_cycles=1") / "to_label.csv"

    def answer(**special):
        rows = list(csv.DictReader(table.read_text().splitlines()))
        for row in rows:
            truth = int(row["file"][4:-4]) % 3
            row["label"] = special.get(row["file"][:-4]) or row["label"] or "abc"[truth]
        with table.open("w") as file:
            writer = csv.DictWriter(file, ["file", "label", "path"])
            writer.writeheader()
            writer.writerows(rows)
        return [row["file"] for row in rows]

    first = answer()
    with table.open("a") as file:  # last line wins
        file.write(f"{first[0]},?,\n")
    folder = run("oracle=file", "num_cycles=1")
    second = answer()
    with table.open("a") as file:
        file.write(f"{first[1]},corrected,\n")
    run("oracle=file", "num_cycles=1")
    assert (folder / "results.json").exists()
    shown = {row["file"]: row["label"] for row in picks(folder)}
    assert list(shown) == first + second
    assert shown[first[0]] == "?"
    assert shown[first[1]] == "corrected"
    assert all(shown[f] == "abc"[int(f[4:-4]) % 3] for f in [*first[2:], *second])
    assert json.loads((folder / "results.json").read_text())["num_labeled"] == 9


def test_features_beyond_float32_are_a_plain_error(run, data):
    np.save(data / "train.npy", np.load(data / "train.npy") * np.float32(3e19))
    with pytest.raises(UserError, match="too large for float32"):
        run("num_cycles=1")
