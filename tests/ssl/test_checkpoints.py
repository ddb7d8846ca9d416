"""Checkpoints that are damaged, missing, too large for the disk, or of another run."""

import io
import logging
import os
import pickle
import resource
import shutil
import stat

import lightning as L
import pytest
import torch

from dal_toolbox.encoders import create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl.callbacks import KNNEvaluation
from dal_toolbox.ssl.checkpoint import DamagedCheckpoint, read_checkpoint


def losses(result):
    return [row["train/loss"] for row in result.rows]


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/evil",)


def flipped(content):
    """One bit of a weight."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


DAMAGE = {
    "flipped": flipped,
    "truncated": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-100],
    "empty": lambda content: b"",
    "zeroed": lambda content: content[:2000] + bytes(2000) + content[4000:],
    "text": lambda content: b"not a checkpoint",
    "pickle": lambda content: pickle.dumps({"epoch": 1}),
    "hostile": lambda content: saved(Evil()),
    "other": lambda content: saved({"weights": torch.zeros(2)}),
}


@pytest.fixture
def half(train, interrupted, tmp_path):
    """A run of 3 epochs that was interrupted in the third, and its checkpoints."""
    interrupted(2)
    return tmp_path / "run/checkpoints"


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_last_epoch_is_trained_again(train, half, caplog, name):
    last = half / "last.ckpt"
    last.write_bytes(DAMAGE[name](last.read_bytes()))
    again = train()
    assert again.resumed_from == 1
    assert f"{last} is damaged, or no checkpoint; tries the epoch before" in caplog.text
    assert "weights_only" not in caplog.text
    assert losses(again) == losses(train("whole"))


@pytest.mark.parametrize("place", range(40))
def test_a_flipped_byte_is_found_or_changes_nothing(half, place):
    """Torch pads its files; what is flipped there is no value."""
    last = half / "last.ckpt"
    content = bytearray(last.read_bytes())
    expected = read_checkpoint(last)["state_dict"]
    content[place * (len(content) - 1) // 39] ^= 0x10
    last.write_bytes(content)
    try:
        found = read_checkpoint(last)["state_dict"]
    except DamagedCheckpoint:
        return
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_run_killed_between_two_names_goes_on(train, half):
    (half / "last.ckpt").replace(half / "previous.ckpt")
    assert train().resumed_from == 2


@pytest.mark.parametrize("files", [["last.ckpt"], ["last.ckpt", "previous.ckpt"]])
def test_without_a_whole_checkpoint_the_way_out_is_named(train, half, files):
    for name in ("last.ckpt", "previous.ckpt"):
        (half / name).unlink() if name not in files else (half / name).write_bytes(b"x")
    with pytest.raises(UserError, match=f"delete {half} to train from the start") as error:
        train()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [None, "flipped", "truncated"])
def test_a_lost_best_epoch_is_no_dead_end(train, clean, caplog, damage):
    """An epoch that is neither the last nor the one before is lost; that is said."""
    options = {"callbacks": [KNNEvaluation(clean, 10, interval=1)], "monitor": "val/knn_accuracy"}
    result = train(epochs=4, optimization=Optimization(base_lr=1e-6), **options)
    best, lost = result.best, result.best_epoch < 3
    content = best.read_bytes()
    best.unlink() if damage is None else best.write_bytes(DAMAGE[damage](content))
    again = train(epochs=4, optimization=Optimization(base_lr=1e-6), **options)
    assert again.load_best() is again.method
    assert (f"{best} of epoch {result.best_epoch} is missing or damaged" in caplog.text) == lost
    assert again.best_epoch == (4 if lost else result.best_epoch)
    assert (again.lost is None) != lost


def test_last_and_best_lost_after_the_training(train):
    result = train()
    previous = result.last.with_name("previous.ckpt")
    for file in (result.last, result.best):
        file.write_bytes(flipped(file.read_bytes()))
    again = train()
    assert again.resumed_from == 2
    assert losses(again) == losses(result)
    assert read_checkpoint(again.best)["epoch"] == 2
    assert previous.is_file()


def test_weights_of_another_network_are_refused(train, half):
    checkpoint = torch.load(half / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["encoder.conv1.weight"] = torch.zeros(2, 2)
    torch.save(checkpoint, half / "last.ckpt")
    with pytest.raises(
        UserError, match=r"another network: encoder.conv1.weight has shape \(2, 2\)"
    ):
        train()


def test_leftovers_of_killed_writers_are_swept(train, half):
    for name in (".last.ckpt.tmp", ".best.ckpt.0123.tmp", "../.metrics.csv.0123.tmp"):
        (half / name).write_bytes(b"half a file")
    result = train()
    files = {file.name for file in [*half.iterdir(), *half.parent.iterdir()]}
    assert files == {"best.ckpt", "last.ckpt", "previous.ckpt", "checkpoints", "metrics.csv"}
    assert result.resumed_from == 2


def test_files_have_the_mode_of_the_umask(train):
    mask = os.umask(0o027)
    try:
        result = train(epochs=2)
    finally:
        os.umask(mask)
    files = [*result.last.parent.iterdir(), result.last.parents[1] / "metrics.csv"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}
    assert len(files) == 4


class SmallDisk(L.Callback):
    """From the second epoch on, no file may have more than 20 kB."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))


def test_a_full_disk_is_one_line_and_the_run_goes_on(train, tmp_path, caplog):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(UserError, match="the same command goes on") as error:
            train(callbacks=[SmallDisk()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert isinstance(error.value.__cause__, OSError)
    left = {file.name for file in (tmp_path / "run/checkpoints").iterdir()}
    assert left == {"last.ckpt", "best.ckpt"}
    again = train()
    assert again.resumed_from == 1
    assert losses(again) == losses(train("whole"))


class Blocked(L.Callback):
    """A file lies where the checkpoints were, as after a mistake in the middle of a run."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            self.folder.rename(self.folder.with_name("moved"))
            self.folder.write_text("")


def test_a_folder_that_is_gone_is_one_line(train, tmp_path):
    folder = tmp_path / "run/checkpoints"
    with pytest.raises(UserError, match="the same command goes on"):
        train(callbacks=[Blocked(folder)])
    folder.unlink()
    folder.with_name("moved").rename(folder)
    assert train().resumed_from == 1


class Removed(L.Callback):
    """Somebody tidies up in the middle of a run."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            shutil.rmtree(self.folder)


def test_a_folder_that_is_removed_is_made_again(train, tmp_path):
    result = train(callbacks=[Removed(tmp_path / "run")])
    assert result.load_best() is result.method
    assert len(result.rows) == 3
    assert train().resumed_from == 3


def test_auto_keeps_the_precision_with_which_a_run_began(train, interrupted, caplog):
    """Also on a machine that would choose another."""
    caplog.set_level(logging.INFO, "dal_toolbox")
    interrupted(2, precision="bf16")
    result = train(precision="auto")
    assert result.resumed_from == 2
    assert "precision bf16 (as the run began)" in caplog.text
    with pytest.raises(UserError, match=r"precision='32' \(was 'bf16'\)"):
        train(precision="32")


@pytest.mark.parametrize("name", SSL_METHODS)
def test_every_method_continues_from_the_epoch_before(train, bundle, name):
    from dal_toolbox.augment import RECIPES

    def options():
        torch.manual_seed(0)
        encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
        recipe = SSL_METHODS[name].default_augmentation
        augment = RECIPES.build(recipe, size=8, mean=bundle.mean, std=bundle.std)
        return {"method": SSL_METHODS.build(name, encoder=encoder), "augment": augment}

    whole = train(**options())
    whole.last.write_bytes(flipped(whole.last.read_bytes()))
    again = train(**options())
    assert again.resumed_from == 2
    assert losses(again) == losses(whole)
