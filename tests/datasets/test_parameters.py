"""Every parameter of every dataset, with values that cannot be meant and values that can."""

import inspect
import math
import runpy
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from dal_toolbox.datasets import DATASETS, DatasetBundle
from dal_toolbox.errors import UserError

OFFICIAL = runpy.run_path(str(Path(__file__).with_name("official.py")))
VALUES = [
    *(0, -1, 1, 2, 0.5, 10**9, 2**70, 1e300, math.nan, math.inf, None, True),
    *("x", "", "0", [], [1], {}, (0, 18), (0, 18, 10**6), ("a",), "never", "skip"),
]
RUN = {"dataset_path", "num_workers", "seed"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            OFFICIAL["MAKE"][name](made[name])
        return made[name]

    return make


def hyperparameters(name):
    parameters = inspect.signature(DATASETS[name]).parameters
    return [key for key in parameters if key not in RUN]


def build(name, path, **values):
    parameters = inspect.signature(DATASETS[name]).parameters
    known = {"dataset_path": path, "num_workers": 0, "seed": 0, "download": False}
    options = {**known, **OFFICIAL["options"](name, path), **values}
    return DATASETS.build(name, **{k: v for k, v in options.items() if k in parameters})


def refused(name, key, value, path):
    """The message, or None where the dataset is built."""
    try:
        bundle = build(name, path, **{key: value})
    except (UserError, ValueError) as error:
        assert "\n" not in str(error)
        return str(error)
    assert isinstance(bundle, DatasetBundle)
    return None


def test_there_is_data_for_every_dataset():
    assert set(OFFICIAL["MAKE"]) == set(DATASETS)


CASES = [(name, key) for name in DATASETS for key in hyperparameters(name)]


@pytest.mark.parametrize(("name", "key"), CASES)
def test_every_value_ends_in_images_or_in_the_name_of_the_parameter(name, key, data, tmp_path):
    """What is refused where the data is, is refused where it is not, before anything is looked for."""
    choices = get_args(get_type_hints(DATASETS[name])[key])
    for value in VALUES:
        message = refused(name, key, value, data(name))
        if message is None or (key == "size" and value in choices):  # archives that are not there
            continue
        if f"more than {key}={value}" in message:  # of an image
            continue
        assert message.startswith((f"{key}=", "val_size=", "max_size=")), (value, message)
        if not any(words in message for words in FOLLOWS_FROM_DATA) and name != "digits":
            assert refused(name, key, value, tmp_path / "missing") == message


FOLLOWS_FROM_DATA = ("images on both sides", "training images; 0: all", "no such folder")


@pytest.mark.parametrize(("name", "key"), CASES)
def test_every_choice_is_taken(name, key, data):
    """And a wrong one is answered with all of them."""
    annotation = get_type_hints(DATASETS[name])[key]
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    for choice in choices:
        if key != "size":  # of archives that are not there
            assert refused(name, key, choice, data(name)) is None
    if choices:
        message = refused(name, key, "wrong", data(name))
        assert message == f"{key}='wrong': choose one of {', '.join(choices)}"
