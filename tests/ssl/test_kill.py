"""A run that is killed at any moment continues with the losses of an undisturbed one."""

import csv
import os
import random
import signal
import subprocess
import sys
import time

import pytest

RUN = """
import sys
from pathlib import Path

import numpy as np
import torch

from dal_toolbox.augment import RECIPES
from dal_toolbox.datasets import DATASETS
from dal_toolbox.encoders import create_encoder
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl.pretrain import pretrain

torch.set_num_threads(1)
torch.manual_seed(0)
folder, name = Path(sys.argv[1]), sys.argv[2]
widths = {"projector_hidden_dim": 16, "predictor_hidden_dim": 16} if name == "byol" else {}
bundle = DATASETS.build("digits")
encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
pretrain(
    SSL_METHODS.build(name, encoder=encoder, projector_dim=8, **widths),
    bundle.train.subset(np.arange(256)),
    folder=folder,
    augment=RECIPES.build(name, size=8, mean=bundle.mean, std=bundle.std),
    optimization=Optimization(name="lars", base_lr=0.3, warmup_epochs=3),
    epochs=40,
    batch_size=32,
    device="cpu",
)
"""


def losses(folder):
    with (folder / "metrics.csv").open() as file:
        return [(row["epoch"], row["train/loss"]) for row in csv.DictReader(file)]


def start(folder, name):
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), name], stderr=subprocess.PIPE)


def finish(folder, name):
    process = start(folder, name)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_kill_9(tmp_path, name):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(whole, name)
    moments = random.Random(0)
    for _ in range(3):
        process = start(parts, name)
        seen = (parts / "metrics.csv").stat().st_size if (parts / "metrics.csv").exists() else 0
        while process.poll() is None and not _grown(parts, seen):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert 0 < len(losses(parts)) < 40
    finish(parts, name)
    assert losses(parts) == losses(whole)


def _grown(folder, size):
    metrics = folder / "metrics.csv"
    return metrics.exists() and metrics.stat().st_size > size + 200
