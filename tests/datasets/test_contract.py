"""What every registered dataset must fulfill."""

import inspect
import subprocess
import sys

import pytest

from dal_toolbox.datasets import DATASETS, DatasetBundle, DatasetNotFound, ImageArray
from dal_toolbox.datasets._statistics import channel_statistics

RUN_OBJECTS = {"dataset_path", "seed", "num_workers"}


def build(name, tmp_path):
    run = {"dataset_path": tmp_path, "seed": 0, "num_workers": 0}
    parameters = inspect.signature(DATASETS[name]).parameters
    kwargs = {key: value for key, value in run.items() if key in parameters}
    if "download" in parameters:
        kwargs["download"] = False
    return DATASETS.build(name, **kwargs)


@pytest.mark.parametrize("name", list(DATASETS))
def test_dataset(name, tmp_path, check_bundle):
    try:
        bundle = build(name, tmp_path)
    except DatasetNotFound as error:
        message = str(error)
        assert "\n" not in message
        assert str(tmp_path) in message or "root=" in message
        return
    assert isinstance(bundle, DatasetBundle)
    check_bundle(bundle)
    again = build(name, tmp_path)
    assert again.train.fingerprint == bundle.train.fingerprint
    if isinstance(bundle.train, ImageArray):
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
