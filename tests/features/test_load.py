import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from dal_toolbox.features import FeatureStore, encoder_features, extract_features, raw_features

OPTIONS = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "device": "cpu", "precision": "32"}


def test_features_of_an_encoder_come_from_the_store(encoder, images, tmp_path):
    store = FeatureStore(tmp_path)
    first = encoder_features(store, encoder, images, "train", **OPTIONS)
    assert torch.equal(first.values, extract_features(encoder, images, **OPTIONS))
    assert torch.equal(first.targets, torch.from_numpy(images.targets))
    assert list(first.names) == list(images.names)
    second = encoder_features(store, encoder, images, "train", **OPTIONS)
    assert second.key == first.key
    others = [
        encoder_features(store, encoder, images, "test", **OPTIONS),
        encoder_features(store, encoder, images.subset(np.arange(5)), "train", **OPTIONS),
        encoder_features(store, encoder, images, "train", image_size=8, **OPTIONS),
        encoder_features(store, encoder, images, "train", dtype=torch.float16, **OPTIONS),
        encoder_features(store, encoder, images, "train", **{**OPTIONS, "precision": "bf16"}),
    ]
    with torch.no_grad():
        next(encoder.parameters()).mul_(2)
    others.append(encoder_features(store, encoder, images, "train", **OPTIONS))
    assert len({first.key, *(other.key for other in others)}) == 7


def test_a_dtype_that_cannot_be_stored_is_refused_before_the_work(encoder, images, tmp_path):
    encoder.forward = None
    with pytest.raises(ValueError, match="dtype='bfloat16': choose one of"):
        encoder_features(
            FeatureStore(tmp_path), encoder, images, "train", dtype=torch.bfloat16, **OPTIONS
        )


def test_raw_features_are_the_pixels(images):
    features = raw_features(images, batch_size=7)
    assert torch.equal(features.values, images.images.flatten(1).float() / 255)
    assert features.directory is None
    assert len(raw_features(images.subset(np.arange(0)))) == 0


def test_names_do_not_depend_on_the_locale():
    code = """if True:
        import os, numpy, torch
        from dal_toolbox.datasets import ImageArray
        from dal_toolbox.datasets.names import as_name
        from dal_toolbox.features import raw_features
        names = [os.fsdecode(b"K\\xc3\\xa4se"), os.fsdecode(b"caf\\xe9")]
        images = ImageArray(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), numpy.zeros(2, int), names)
        features = raw_features(images)
        print(ascii(features.names), list(map(as_name, features.names)) == names)
    """
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **bare}, capture_output=True, text=True
    )
    assert process.stdout == f"{['Käse', 'caf' + chr(0xDCE9)]!a} True\n", process.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0}, {"batch_size": -1}, {"batch_size": 2.5}, {"batch_size": None},
        {"num_workers": -2}, {"num_workers": None}, {"precision": "fp8"}, {"precision": None},
        {"device": "tpu"}, {"device": "gpu"}, {"device": "meta"}, {"device": None},
        {"device": "cuda:99"}, {"device": -1}, {"device": 1.5},
    ],
)  # fmt: skip
def test_options_are_checked_before_the_work(images, tmp_path, wrong):
    ((name, value),) = wrong.items()
    for extract in (extract_features, partial(encoder_features, FeatureStore(tmp_path))):
        arguments = (None, images) if extract is extract_features else (None, images, "train")
        with pytest.raises(ValueError, match=rf"^{name}='?{value}'?: "):
            extract(*arguments, **{**OPTIONS, **wrong})


def test_what_the_features_were_made_of_travels_with_them(encoder, images, tmp_path):
    features = encoder_features(FeatureStore(tmp_path), encoder, images, "train", **OPTIONS)
    rows = np.array([4, 0])
    assert features.content(rows) == raw_features(images).content(rows)
