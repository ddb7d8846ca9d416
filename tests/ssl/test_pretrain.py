import csv
import logging
import random

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from dal_toolbox.augment import RECIPES
from dal_toolbox.datasets import ImageArray, ImageFiles
from dal_toolbox.datasets.packing import pack
from dal_toolbox.encoders import create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.registry import UnknownName
from dal_toolbox.seeding import seed_everything
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl._memory import training_advice
from dal_toolbox.ssl.callbacks import NonFiniteLoss
from dal_toolbox.ssl.checkpoint import load_weights
from dal_toolbox.ssl.schedule import warmup_cosine


def losses(result):
    return [row["train/loss"] for row in result.rows]


def equal_weights(a, b):
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002


def test_the_loss_falls(train, bundle):
    result = train(
        images=bundle.train,
        epochs=4,
        batch_size=128,
        augment=RECIPES.build("simclr", size=8, mean=[0.3], std=[0.4], scale=(0.5, 1.0), flip=0.0),
        optimization=Optimization(base_lr=0.06, lr_scaling="none", warmup_epochs=1),
    )
    assert losses(result)[-1] < losses(result)[0] - 0.3
    assert result.rows[-1]["train/contrastive_top1"] > result.rows[0]["train/contrastive_top1"]
    assert result.method.training


def test_same_seed_same_losses_whatever_the_global_generators_hold(train):
    first = train("first")
    draws()
    second = train("second")
    other = train("other", seed=1)
    assert losses(first) == losses(second)
    assert equal_weights(first.method, second.method)
    assert losses(first) != losses(other)


def test_global_generators_are_left_alone(train, build):
    method = build()
    seed_everything(3)
    expected = draws()
    seed_everything(3)
    train(method=method)
    assert draws() == expected


@pytest.mark.parametrize("width", [4, 8])
def test_narrow_networks_train(train, build, width):
    """In channels_last, the strided 1×1 convolution of 4 channels crashes oneDNN."""
    result = train(method=build(width=width), epochs=1)
    last = torch.channels_last if width == 8 else torch.contiguous_format
    assert result.method.memory_format == last


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_interrupted_run_continues_with_the_same_losses(train, interrupted, name, tmp_path):
    options = {"optimization": Optimization(name=name, base_lr=0.01, warmup_epochs=1.5)}
    whole = train("whole", **options)
    interrupted(0, folder="parts", **options)  # before the first checkpoint
    interrupted(1, folder="parts", **options)
    interrupted(2, folder="parts", **options)
    parts = train("parts", **options)
    assert parts.resumed_from == 2
    assert losses(parts) == losses(whole)
    assert equal_weights(parts.method, whole.method)
    with (tmp_path / "parts/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_rows_of_lost_epochs_are_dropped(train, interrupted, tmp_path):
    interrupted(2)
    metrics = tmp_path / "run/metrics.csv"
    metrics.write_text(metrics.read_text() + "3,6,0.1\n")  # its checkpoint was not written any more
    assert [row["epoch"] for row in train().rows] == [1, 2, 3]
    assert len(metrics.read_text().splitlines()) == 4


def test_finished_run_is_not_trained_again(train):
    first = train()
    again = train()
    assert again.resumed_from == 3
    assert again.rows == first.rows
    assert equal_weights(first.method, again.method)


def test_checkpoint_of_another_run_is_refused(train, interrupted):
    interrupted(1)
    with pytest.raises(UserError, match=r"another run: base_lr=0.1 \(was 0.5\)"):
        train(optimization=Optimization(base_lr=0.1, warmup_epochs=1))
    with pytest.raises(UserError, match=r"^epochs=4: .* a schedule of 3 epochs"):
        train(epochs=4)


def test_checkpoints_hold_plain_values(train, build):
    result = train()
    checkpoint = torch.load(result.last, weights_only=True)
    assert checkpoint["hyper_parameters"]["temperature"] == 0.5
    assert checkpoint["dal_toolbox"]["optimizer.base_lr"] == 0.5
    method = build()
    load_weights(method, result.last)
    assert equal_weights(method, result.method)
    assert not [file for file in result.last.parent.iterdir() if file.suffix == ".tmp"]


def test_without_metric_best_is_last(train):
    result = train()
    assert (result.best_epoch, result.best_score) == (3, None)
    assert result.best.read_bytes() == result.last.read_bytes()


def test_accumulation_steps_and_learning_rates(train):
    optimization = Optimization(base_lr=0.5, lr_scaling="none", warmup_epochs=1)
    result = train(batch_size=10, accumulate_batches=3, optimization=optimization)
    assert [row["step"] for row in result.rows] == [3, 6, 9]  # 7 batches: 3 + 3 + 1
    expected = [0.5 * warmup_cosine(step - 1, total=9, warmup=3) for step in (3, 6, 9)]
    assert [row["lr"] for row in result.rows] == pytest.approx(expected)


def test_plan_is_logged(train, caplog):
    caplog.set_level(logging.INFO, "dal_toolbox")
    train(epochs=1, accumulate_batches=2, batch_size=32)
    assert "70 images, 2 batches of 32 an epoch, on cpu, precision 32 (as asked)" in caplog.text
    assert "learning rate 0.0625 = 0.5 * 32/256 (lr_scaling=linear)" in caplog.text
    assert "adds no negatives" in caplog.text
    assert "epoch 1/1" in caplog.text


def test_batch_is_clamped_to_the_data(train, caplog):
    result = train(batch_size=512, epochs=2)
    assert "batch_size=512 exceeds the 70 images" in caplog.text
    assert [row["step"] for row in result.rows] == [1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "^epochs=0"),
        ({"accumulate_batches": 0}, "^accumulate_batches=0"),
        ({"batch_size": 1}, "^batch_size=1"),
        ({"precision": "fp8"}, "^precision='fp8': choose one of auto, 32, bf16, 16"),
        ({"precision": "16"}, "^precision='16': float16 trains on GPUs only"),
        ({"device": "cuda:99"}, "^device='cuda:99'"),
        ({"residency": "moon"}, "^residency='moon'"),
        ({"num_workers": -2}, "^num_workers=-2"),
        ({"seed": -1}, "^seed=-1"),
        ({"monitor": "test/knn_accuracy"}, "the test set chooses nothing"),
    ],
)
def test_options_that_cannot_be(train, options, message):
    with pytest.raises((ValueError, UserError), match=message):
        train(**options)


def test_one_image_is_too_few(train, few):
    with pytest.raises(UserError, match="1 images to pretrain on"):
        train(images=few.subset(np.array([3])))


def test_diverged_training_stops_with_advice(train, build):
    method = build(temperature=0.1)
    method.projector[-1].weight.data.fill_(float("nan"))
    with pytest.raises(NonFiniteLoss) as error:
        train(method=method)
    message = str(error.value)
    assert "\n" not in message
    assert "the loss is nan in epoch 1" in message
    assert message.startswith("base_lr=0.5: the loss is nan")
    for knob in ("peak learning rate is 0.0625", "raise warmup_epochs", "raise temperature"):
        assert knob in message


class Full(L.Callback):
    """An accelerator without room for the second batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_out_of_memory_names_the_knobs(train):
    with pytest.raises(UserError) as error:
        train(callbacks=[Full()], accumulate_batches=2)
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)
    message = str(error.value)
    assert "\n" not in message
    for knob in (
        "batch_size=32: the accelerator is out of memory: lower it to 16",
        "accumulate_batches=4",
        "adds no negatives",
        "precision=bf16 (now 32)",
        "smaller images (now 8 px)",
    ):
        assert knob in message
    assert "residency" not in message


def test_advice_of_a_training_that_is_small_already():
    advice = training_advice(2, 1, "bf16", 96, images_on_device=True)
    assert advice == "set residency=memory (now device), or take smaller images (now 96 px)"


@pytest.mark.parametrize("residency", ["memory", "device", "disk"])
def test_losses_do_not_depend_on_the_residency(train, residency):
    whole, other = train("auto"), train("other", residency=residency)
    assert losses(other) == losses(whole)
    assert equal_weights(whole.method, other.method)


def test_files_and_arrays_have_the_same_losses(train, few, tmp_path):
    """Whether images come from files, from memory, or from the map of a pack."""
    names = [f"{name}.png" for name in few.names]
    for image, name in zip(few.images[:, 0].numpy(), names, strict=True):
        Image.fromarray(image).convert("RGB").save(tmp_path / name)
    files = ImageFiles(tmp_path, names, few.targets, image_size=8)
    array = ImageArray(files.batch(np.arange(70)), few.targets, names)
    augment = RECIPES.build("simclr", size=8, mean=(0.3,) * 3, std=(0.4,) * 3)

    def run(name, images, **options):
        torch.manual_seed(0)
        encoder = create_encoder("small", image_size=8, in_channels=3, width=8)
        method = SSL_METHODS.build("simclr", encoder=encoder, projector_dim=8)
        return losses(train(name, method=method, images=images, augment=augment, **options))

    expected = run("array", array)
    packed = pack(files, tmp_path / "pack")
    assert run("files on disk", files, residency="disk") == expected
    assert run("files in memory", files, residency="auto") == expected
    assert run("pack on disk", packed, residency="disk") == expected
    assert run("pack in memory", packed, residency="memory") == expected


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_number_of_views_must_fit(train, build, bundle, name):
    augment = RECIPES.build("none", size=8, mean=bundle.mean, std=bundle.std)
    method = SSL_METHODS.build(name, encoder=build().encoder)
    with pytest.raises(UserError, match=r"makes 1 views of an image; \w+ takes 2"):
        train(method=method, augment=augment)


def test_accumulation_without_negatives(train, build, caplog):
    caplog.set_level(logging.INFO, "dal_toolbox")
    options = {"projector_hidden_dim": 8, "predictor_hidden_dim": 8}
    method = SSL_METHODS.build("byol", encoder=build().encoder, **options)
    train(method=method, epochs=1, accumulate_batches=2)
    assert "adds no negatives" not in caplog.text
    assert "batch normalization still sees 32 images" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(build, augment, few, dtype):
    method = build(temperature=0.05).configure(augment, Optimization(), 32)
    with torch.autocast("cpu", dtype=dtype):
        views = method.views(few.batch(np.arange(32)))
        outputs = method.loss(views)
    assert views.dtype == outputs["loss"].dtype == torch.float32
    outputs["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters())


def test_bfloat16_training(train):
    assert losses(train(precision="bf16", epochs=2))[-1] > 0


def test_dropout_is_seeded_per_epoch(train, interrupted, build):
    def method():
        simclr = build()
        simclr.projector.insert(1, torch.nn.Dropout(0.3))
        return simclr

    whole = train("whole", method=method())
    interrupted(1, folder="parts", method=method())
    assert losses(train("parts", method=method())) == losses(whole)


def test_plain_trainer(build, augment, few):
    from dal_toolbox.datasets import ImageLoader
    from dal_toolbox.ssl._trainer import quiet

    method = build().configure(augment, Optimization(base_lr=0.5), 32)
    loader = ImageLoader(few, 32, shuffle=True, drop_last=True)
    with quiet():
        trainer = L.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(method, loader)
    assert trainer.global_step == 4


def test_unknown_method():
    with pytest.raises(UnknownName, match="Did you mean 'simclr'"):
        SSL_METHODS.build("simlcr", encoder=None)


def test_temperature_must_be_positive(build):
    with pytest.raises(ValueError, match=r"^temperature=0"):
        build(temperature=0)
