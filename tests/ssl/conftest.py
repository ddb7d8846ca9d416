import lightning as L
import numpy as np
import pytest
import torch

from dal_toolbox.augment import RECIPES
from dal_toolbox.datasets import DATASETS, ImageArray
from dal_toolbox.encoders import create_encoder
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl.callbacks import CleanFeatures
from dal_toolbox.ssl.pretrain import pretrain


@pytest.fixture(scope="session")
def bundle():
    return DATASETS.build("digits", val_size=0.2)


@pytest.fixture(scope="session")
def few(bundle):
    """70 digits without labels: two batches of 32 an epoch, 6 images left out."""
    images = bundle.train.batch(np.arange(70))
    return ImageArray(images, np.full(70, -1), [f"{i:02d}" for i in range(70)])


@pytest.fixture
def augment(bundle):
    return RECIPES.build("simclr", size=8, mean=bundle.mean, std=bundle.std)


@pytest.fixture
def clean(bundle):
    return CleanFeatures(bundle.train, bundle.val, split="val", mean=bundle.mean, std=bundle.std)


@pytest.fixture
def build():
    """A function that builds the same small SimCLR every time."""

    def method(width=8, **options):
        torch.manual_seed(0)
        encoder = create_encoder("small", image_size=8, in_channels=1, width=width)
        return SSL_METHODS.build("simclr", encoder=encoder, projector_dim=8, **options)

    return method


@pytest.fixture
def train(build, few, augment, tmp_path):
    """A function that pretrains for 3 epochs on few images."""

    def run(folder="run", images=few, method=None, **options):
        options = {
            "epochs": 3,
            "batch_size": 32,
            "optimization": Optimization(base_lr=0.5, warmup_epochs=1),
            "device": "cpu",
            "precision": "32",
            "augment": augment,
            **options,
        }
        return pretrain(method or build(), images, folder=tmp_path / folder, **options)

    return run


class Interrupted(Exception):
    pass


class Interrupt(L.Callback):
    """Stops a training in the middle of an epoch, which counts from 0."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == self.epoch and batch_idx == 1:
            raise Interrupted


@pytest.fixture
def interrupted(train):
    """A function that starts a training and stops it in the middle of an epoch."""

    def run(epoch, **options):
        with pytest.raises(Interrupted):
            train(callbacks=[*options.pop("callbacks", ()), Interrupt(epoch)], **options)

    return run
