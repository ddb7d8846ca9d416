"""The main of pretraining: what its config may hold, what it says, and what it leaves."""

import copy
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import load_file

from dal_toolbox.config.parts import CONFIGS, GROUPS, mirror, plain
from dal_toolbox.encoders import load_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.ssl import SSL_METHODS

TINY = [
    "dataset=digits", "encoder=small", "encoder.width=8", "model.n_epochs=1", "trainer=cpu",
    "model.train_batch_size=256", "ssl_val_interval=1", "le_model.num_epochs=2",
    "trainer.precision=32", "n_cpus=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def ssl_main():
    """``experiments/ssl/main.py`` as a module, with the modules beside it."""
    folder = str(Path(__file__).parents[2] / "experiments" / "ssl")
    names = ("main", "checks", "parts", "outputs")
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("main")
    finally:
        sys.path.remove(folder)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(others)


@pytest.fixture(scope="module")
def config_of():
    """A function that composes the config of some overrides."""
    for group in ("dataset", "encoder", "ssl_model"):
        assert group in GROUPS
        mirror(group)

    def make(*overrides):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return plain(compose("ssl", overrides=[*TINY, *overrides]))

    return make


@pytest.fixture
def run(ssl_main, config_of, tmp_path):
    """A function that runs the main in this process; the folder of the run."""

    def run_it(*overrides, folder="run", **changes):
        ssl_main.main({**config_of(*overrides), **changes}, tmp_path / folder)
        return tmp_path / folder

    return run_it


BAD = [0, -1, 10**30, 1e300, float("nan"), float("inf"), None, "many", [], {}, 0.5, True]
OWNED = ("ssl_val_interval", "color_distortion_strength", "knn", "residency", "monitor", "tsne",
         "validation_augmentation", "export", "model", "le_model", "trainer", "logger")  # fmt: skip
# Flags and switches, which the config itself types, and names that other keys give.
UNTYPED = {"trainer.compile", "le_model.callback.enabled", "model.encoder", "model.name"}


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def changed(config, key, value):
    config = copy.deepcopy(config)
    *path, leaf = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[leaf] = value
    return config


HUGE = 10**30  # of sizes and counts: more than there is, or longer than anybody waits
GOOD = {
    0,
    0.5,
    None,
    HUGE,
    1e300,
}  # what may be meant somewhere; never -1, NaN, infinity, words, []


@pytest.mark.parametrize("method", SSL_METHODS)
def test_every_key_is_checked_before_data_is_opened(ssl_main, config_of, method):
    """Every refusal is one line that begins with the key; what passes can be meant."""
    config = config_of(f"ssl_model={method}", "model.projector_hidden_dim=8")
    keys = [key for key in leaves(config) if key.split(".")[0] in OWNED and key not in UNTYPED]
    assert len(keys) > 45
    for key in keys:
        passed = []
        for value in BAD:
            try:
                ssl_main.checks.check(changed(config, key, value))
            except UserError as error:
                line = str(error)
                assert line.startswith((f"{key}=", f"{key}: ")), f"{key}={value!r}: {line}"
                assert "\n" not in line
            else:
                passed.append(value)
        assert len(passed) < len(BAD), f"{key} is not checked"
        wrong = [v for v in passed if v != [] and v not in GOOD] + [v for v in passed if v is True]
        assert not wrong, f"{key} may be {wrong}"
        assert [] not in passed or key == "export.types"


LARGE = 10**12
RUNS = [
    {
        "knn.k": LARGE, "knn.temperature": 1e300, "ssl_val_interval": LARGE,
        "model.train_batch_size": LARGE, "model.accumulate_batches": LARGE,
        "model.predict_batch_size": LARGE, "model.optimizer.warmup_epochs": 1e300,
        "le_model.train_batch_size": LARGE, "le_model.val_batch_size": LARGE,
        "le_model.optimizer.weight_decay": 0.5, "le_model.callback.interval": LARGE,
        "model.augmentation.hue": 0.1, "model.augmentation.scale": [0.5, 1],
    },
    {
        "knn.k": 0, "model.accumulate_batches": 2, "model.optimizer.min_lr": 0.5,
        "model.optimizer.momentum": 0, "model.optimizer.warmup_share": 1,
        "color_distortion_strength": 0, "le_model.optimizer.base_lr": 0.5,
        "model.augmentation.brightness": 0, "model.augmentation.jitter": [0, 0.5],
        "model.optimizer.name": "adamw",
    },
]  # fmt: skip


@pytest.mark.parametrize("change", RUNS, ids=["large", "small"])
def test_what_passes_the_checks_runs(ssl_main, config_of, tmp_path, change):
    config = config_of("dataset.val_size=0.2")
    for key, value in change.items():
        config = changed(config, key, value)
    ssl_main.main(config, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["best_epoch"] == 1


def stop(*args, **kwargs):
    raise AssertionError("data was opened")


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("export.types", ["onx"], "export.types='onx': choose one of torchscript, onnx"),
        ("export.types", "onnx", "export.types='onnx': must be a list"),
        ("tsne", 3, "tsne=3: must be 0 (no map) or at least 4"),
        ("monitor", "val/acc", "monitor='val/acc': choose one of auto, none, val/knn_accuracy"),
        ("trainer.precision", "fp8", "trainer.precision='fp8': choose one of auto, 32, bf16, 16"),
        ("trainer.precision", 16, "trainer.precision='16': float16 trains on GPUs only"),
        ("trainer.accelerator", "tpu", "trainer.accelerator='tpu': choose one of auto, cpu, gpu"),
        ("model.optimizer.name", "adam", "model.optimizer.name='adam': choose one of sgd"),
        ("model.optimizer.base_lr", -1, "model.optimizer.base_lr=-1: must be"),
        (
            "model.augmentation.name",
            "simclir",
            "model.augmentation.name: no augmentation 'simclir'",
        ),
        ("model.augmentation.name", "none", "makes 1 views of an image; SimCLR takes 2"),
        ("model.augmentation.hue", 3, "model.augmentation.hue=3: must be"),
        ("color_distortion_strength", 9, "color_distortion_strength=9: must be a number from 0"),
        ("validation_augmentation", "none", "validation_augmentation: the augmentation makes 1"),
        ("logger.name", "comet", "logger.name='comet': choose one of csv"),
        ("le_model.num_epochs", 0, "le_model.num_epochs=0: must be an integer of at least 1"),
        ("le_model.optimizer.momentum", 2, "le_model.optimizer.momentum=2: must be"),
        ("le_model.name", "linar", "le_model.name: no classifier 'linar'"),
        ("model.temperature", -1, "model.temperature=-1: must be a number above 0"),
        ("model.projector", "mpl", "model.projector='mpl': choose one of"),
        ("encoder", {"name": "timm", "model": "resnet17"}, "encoder.model=resnet17: "),
        ("encoder", {"name": "smal"}, "encoder.name=smal: neither the registry nor timm"),
        ("encoder", {"name": "small", "checkpoint": "no.pt"}, "encoder.checkpoint=no.pt: no such"),
        (
            "encoder",
            {"name": "timm", "model": "coatnet_0_224", "pretrained": True},
            "encoder.pretrained=true: no pretrained weights for 'coatnet_0_224'",
        ),
    ],
)
def test_a_typo_costs_no_data(ssl_main, config_of, tmp_path, monkeypatch, key, value, words):
    monkeypatch.setattr(ssl_main, "make_dataset", stop)
    with pytest.raises(UserError) as error:
        ssl_main.main(changed(config_of(), key, value), tmp_path / "run")
    assert words in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_diverged_training_names_the_keys(run):
    with pytest.raises(UserError, match=r"^model.optimizer.base_lr=1e\+06: ") as error:
        run("model.optimizer.base_lr=1000000", "model.n_epochs=3")
    assert "lower it (the peak learning rate is 1e+06), raise warmup_epochs" in str(error.value)


def test_labels_that_chose_the_encoder_are_said(run):
    folder = run("dataset.val_size=0.2")
    _, facts = load_encoder(folder)
    words = "k-NN accuracy on the labels of 1,150 training and 288 validation images"
    assert (facts["chosen_by"], facts["labels_used"]) == ("val/knn_accuracy", words)
    results = json.loads((folder / "results.json").read_text())
    assert results["notes"] == [f"the encoder was chosen by {words}"]


@pytest.mark.parametrize(
    "overrides, chosen_by",
    [
        (["dataset.val_size=0.2", "monitor=val/loss"], "val/loss"),
        (["dataset.val_size=0.2", "monitor=none"], None),
        ([], None),
    ],
)
def test_a_choice_without_labels_is_said(run, overrides, chosen_by):
    folder = run(*overrides)
    _, facts = load_encoder(folder)
    assert (facts["chosen_by"], facts["labels_used"]) == (chosen_by, None)
    assert json.loads((folder / "results.json").read_text())["notes"] == []


def test_photos_without_classes_and_without_splits(ssl_main, config_of, tmp_path, monkeypatch):
    """A dataset whose test split is missing, and which has no label at all."""
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.jpg")
    config = config_of("model.train_batch_size=16", "tsne=10")
    config["dataset"] = {"name": "folder", "root": str(tmp_path / "photos"), "image_size": 16}
    config["dataset_path"] = str(tmp_path)
    make = ssl_main.make_dataset
    monkeypatch.setattr(ssl_main, "make_dataset", lambda config: without_test(make(config)))
    ssl_main.main(config, tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["monitor"] is None
    assert results["notes"] == [
        "nothing was measured but the training itself: no labels, no validation split"
    ]
    assert load_encoder(tmp_path / "run")[0].num_features == 32


def without_test(bundle):
    from dataclasses import replace

    return replace(bundle, test=None)


def test_a_failed_export_costs_nothing(run, monkeypatch, ssl_main):
    from dal_toolbox.encoders.export import ExportFailed

    def fail(*args, **kwargs):
        raise ExportFailed("torchscript cannot export small: no such operator")

    monkeypatch.setattr(ssl_main.outputs, "export_encoder", fail)
    with pytest.raises(UserError, match=r"to export again: python experiments/export/main.py run="):
        run("export.types=[torchscript]")
    folder = run("export.types=[torchscript]")  # finished earlier
    assert json.loads((folder / "results.json").read_text())["export"] is None
    assert (folder / "encoder.safetensors").is_file()


@pytest.mark.parametrize("done", [True, False])
def test_a_run_cannot_be_made_longer_but_continued_by_another(run, tmp_path, done):
    folder = run("model.n_epochs=2")
    weights = folder
    if not done:  # interrupted
        weights = folder / "checkpoints" / "last.ckpt"
        (folder / "encoder.safetensors").unlink()
        (folder / "results.json").unlink()
    with pytest.raises(UserError, match="cannot be made longer or shorter") as error:
        run("model.n_epochs=3")
    line = str(error.value)
    assert line.startswith(f"model.n_epochs=3: {folder} holds a run of 2 epochs")
    assert line.endswith(f"encoder.checkpoint={weights}")
    other = run(f"encoder.checkpoint={weights}", folder="other")
    assert load_encoder(other)[1]["started_from"]["file"] == str(weights)
    with pytest.raises(UserError, match="another config"):  # another difference is another matter
        run("model.n_epochs=3", "model.temperature=0.2")


@pytest.mark.parametrize("content", ["", "[]", "model: 3", "{", "a: b: c"])
def test_a_damaged_config_of_a_run_is_left_to_the_run_folder(
    ssl_main, config_of, tmp_path, content
):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config_resolved.yaml").write_text(content)
    ssl_main.checks.refuse_other_length(config_of(), tmp_path)


def test_all_weights_come_from_the_seed(run):
    """Whatever was drawn before, in the same process."""
    one = load_file(run("model.n_epochs=1", folder="one") / "encoder.safetensors")
    torch.rand(3)
    two = load_file(run("model.n_epochs=1", folder="two") / "encoder.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_plugin_that_looks_at_values_is_left_to_the_run(ssl_main, config_of, monkeypatch):
    from dal_toolbox.ssl.simclr import SimCLR

    class Looking(SimCLR):
        def __init__(self, encoder, *, temperature: float = 0.5):
            super().__init__(encoder, temperature=temperature)
            self.norm = float(next(encoder.parameters()).norm())  # has none without memory

    monkeypatch.setitem(SSL_METHODS._factories, "looking", Looking)
    config = config_of()
    config["model"] = {**config["model"], "name": "looking"}
    for key in ("projector", "projector_dim", "projector_hidden_dim"):
        del config["model"][key]
    assert ssl_main.checks.trial_method(config) is None
    ssl_main.checks.check(config)


def test_views_that_are_all_alike_are_one_line(run):
    still = ["scale=[1,1]", "flip=0", "jitter=0", "grayscale=0", "blur=0"]
    with pytest.raises(UserError, match="^the views of the validation loss are all alike"):
        run("dataset.val_size=0.2", *[f"model.augmentation.{change}" for change in still])
