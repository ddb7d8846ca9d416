"""What every registered dataset must fulfill."""

import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from dal_toolbox.datasets import DATASETS, DatasetBundle, DatasetNotFound
from dal_toolbox.datasets._statistics import channel_statistics
from dal_toolbox.datasets.summary import describe

OFFICIAL = runpy.run_path(str(Path(__file__).with_name("official.py")))
RUN_OBJECTS = {"dataset_path", "seed", "num_workers"}


def build(name, path):
    parameters = inspect.signature(DATASETS[name]).parameters
    known = {"dataset_path": path, "seed": 0, "num_workers": 0, "download": False}
    options = {**known, **OFFICIAL["options"](name, path)}
    return DATASETS.build(name, **{k: v for k, v in options.items() if k in parameters})


@pytest.mark.parametrize("name", list(DATASETS))
def test_dataset(name, tmp_path, check_bundle):
    OFFICIAL["MAKE"][name](tmp_path)
    bundle = build(name, tmp_path)
    assert isinstance(bundle, DatasetBundle)
    check_bundle(bundle)
    again = build(name, tmp_path)
    assert again.train.fingerprint == bundle.train.fingerprint
    assert again.classes == bundle.classes


@pytest.mark.parametrize("name", list(DATASETS))
def test_what_was_found_is_one_line_of_the_log(name, tmp_path, caplog):
    OFFICIAL["MAKE"][name](tmp_path)
    with caplog.at_level("INFO"):
        bundle = build(name, tmp_path)
    start = f"{bundle.name}: {describe(bundle)}"
    assert len([text for text in caplog.messages if text.startswith(start)]) == 1


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
def test_missing_data_is_one_line(name, tmp_path):
    with pytest.raises(DatasetNotFound) as caught:
        build(name, tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "new") in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_statistics_of_digits():
    bundle = DATASETS.build("digits")
    mean, std = channel_statistics(bundle.train)
    assert bundle.mean == pytest.approx(mean, abs=5e-3)
    assert bundle.std == pytest.approx(std, abs=5e-3)


@pytest.mark.parametrize("name", list(DATASETS))
def test_parameters_are_hyperparameters_or_objects_of_the_run(name):
    for parameter in inspect.signature(DATASETS[name]).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            assert parameter.name in RUN_OBJECTS
        assert parameter.annotation is not inspect.Parameter.empty


def test_known_datasets():
    assert {"digits", "CIFAR10", "CIFAR100", "folder"} <= set(DATASETS)


def test_import_is_light():
    heavy = ["torchvision", "timm", "lightning", "faiss", "hydra", "sklearn", "matplotlib"]
    code = (
        "import sys; from dal_toolbox.datasets import DATASETS; list(DATASETS); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
