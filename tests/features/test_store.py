import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dal_toolbox.features import Features, FeatureSpec, FeatureStore
from dal_toolbox.io import file_digest

SPEC = FeatureSpec("encoder", "images", "train", "resize(8)", "float32")


def make_features() -> Features:
    values = torch.arange(24.0).view(6, 4)
    return Features(values, torch.tensor([0, 1, -1, 2, 0, 1]), list("abcdeä"), key="")


def refuse() -> Features:
    raise AssertionError("computed a second time")


def ask(root: Path, counter: Path, seconds: float) -> None:
    """Asks the store; leaves a mark for every computation."""

    def compute() -> Features:
        with counter.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        return make_features()

    features = FeatureStore(root).get(SPEC, compute)
    assert torch.equal(features.values, make_features().values)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def test_computed_once_then_mapped_from_disk(store, caplog):
    assert SPEC not in store
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        first = store.get(SPEC, make_features)
        second = store.get(SPEC, refuse)
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "features of train computed",
        "features of train found",
    ]
    assert SPEC in store
    for features in (first, second):
        assert torch.equal(features.values, make_features().values)
        assert torch.equal(features.targets, make_features().targets)
        assert list(features.names) == list("abcdeä")
        assert features.key == SPEC.key
        assert features.directory == store.root / SPEC.key
    assert {path.name for path in first.directory.iterdir()} == {
        "values.npy",
        "targets.npy",
        "names.json",
        "manifest.json",
    }


def test_float16_and_no_items(store):
    half = replace(SPEC, dtype="float16")
    values = store.get(
        half, lambda: replace(make_features(), values=torch.ones(6, 4).half())
    ).values
    assert values.dtype == torch.float16
    nothing = Features(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), [], "")
    empty = replace(SPEC, split="empty")
    store.get(empty, lambda: nothing)
    assert store.get(empty, refuse).values.shape == (0, 4)


def test_writing_to_features_does_not_reach_the_store(store):
    store.get(SPEC, make_features).values[0] = -1
    assert torch.equal(store.get(SPEC, refuse).values, make_features().values)


@pytest.mark.parametrize("file", ["values.npy", "targets.npy", "names.json", "manifest.json"])
def test_a_damaged_entry_is_named_and_computed_anew(store, features, damages, caplog, file):
    path = store.get(SPEC, lambda: features).directory / file
    content = path.read_bytes()
    for what, damaged in {"gone": None, **damages(content)}.items():
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        assert SPEC not in store, what
        caplog.clear()
        with caplog.at_level(logging.WARNING, "dal_toolbox"):
            again = store.get(SPEC, lambda: features)
        (record,) = caplog.records
        message = record.getMessage()
        assert message.startswith(f"damaged features, computed anew: {store.root}"), what
        assert "\n" not in message
        assert path.read_bytes() == content, what
        assert torch.equal(again.values, features.values)
        assert list(again.names) == list(features.names)


def test_64_kib_of_zeros_in_large_values_are_found(store):
    values = torch.randn(3000, 512)
    targets, names = torch.zeros(3000, dtype=torch.int64), [str(i) for i in range(3000)]
    path = store.get(SPEC, lambda: Features(values, targets, names, "")).directory / "values.npy"
    with path.open("r+b") as file:
        file.seek(3_000_000)
        file.write(bytes(2**16))
    assert SPEC not in store


def test_an_entry_of_another_specification_is_not_taken(store):
    other = replace(SPEC, encoder="another")
    directory = store.get(other, make_features).directory
    directory.rename(store.root / SPEC.key)
    assert SPEC not in store


def test_entries_of_earlier_versions_are_checked_too(store):
    directory = store.get(SPEC, make_features).directory
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["sha256"] = {name: file_digest(directory / name) for name in manifest.pop("blocks")}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    assert torch.equal(store.get(SPEC, refuse).values, make_features().values)
    content = (directory / "values.npy").read_bytes()
    (directory / "values.npy").write_bytes(content[:-1] + b"x")
    assert SPEC not in store


def test_names_of_files_in_any_bytes_survive(store):
    names = ["caf\udce9.jpg", "a\nb", "ä, [x]=1", "\u202eright", "\x1b[31m", " "]
    store.get(SPEC, lambda: replace(make_features(), names=names))
    assert store.get(SPEC, refuse).names == names


@pytest.mark.parametrize("hindrance", ["no folder", "full disk"])
def test_where_nothing_can_be_written_the_work_is_not_lost(store, caplog, monkeypatch, hindrance):
    if hindrance == "no folder":
        store.root.write_text("a file is in the way")
    else:
        monkeypatch.setattr("dal_toolbox.features.store._write", full_disk)
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        features = store.get(SPEC, make_features)
    assert torch.equal(features.values, make_features().values)
    assert (features.key, features.directory) == (SPEC.key, None)
    assert "cannot be kept" in caplog.text


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_a_computation_that_fails_leaves_nothing(store):
    def fail() -> Features:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        store.get(SPEC, fail)
    assert SPEC not in store
    assert [path for path in store.root.iterdir() if path.is_dir()] == []
    store.get(SPEC, make_features)


def test_remove(store):
    store.get(SPEC, make_features)
    store.remove(SPEC)
    assert SPEC not in store
    store.remove(SPEC)


def test_the_manifest_says_what_it_is(store):
    directory = store.get(SPEC, make_features).directory
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["spec"]["transform"] == "resize(8)"
    assert manifest["shape"] == [6, 4]


def test_threads_at_once_compute_once(tmp_path):
    counter = tmp_path / "counter"
    threads = [
        threading.Thread(target=ask, args=(tmp_path / "store", counter, 0.2)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counter.read_text().split()) == 1


def test_processes_at_once_compute_once_and_a_killed_one_hands_over(tmp_path):
    root, counter = tmp_path / "store", tmp_path / "counter"
    context = multiprocessing.get_context("spawn")
    victim = context.Process(target=ask, args=(root, counter, 600))
    victim.start()
    while not counter.exists():
        time.sleep(0.05)
    (root / f".{SPEC.key}.1234").mkdir()  # it dies in the middle of writing
    others = [context.Process(target=ask, args=(root, counter, 0.5)) for _ in range(2)]
    for process in others:
        process.start()
    os.kill(victim.pid, signal.SIGKILL)
    for process in (victim, *others):
        process.join()
    assert [process.exitcode for process in others] == [0, 0]
    assert len(counter.read_text().split()) == 2
    assert not (root / f".{SPEC.key}.1234").exists()
    FeatureStore(root).get(SPEC, refuse)
