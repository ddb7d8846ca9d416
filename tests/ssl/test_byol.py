import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dal_toolbox.augment import RECIPES
from dal_toolbox.encoders import create_encoder
from dal_toolbox.encoders.base import Encoder
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl.byol import BYOL
from dal_toolbox.ssl.callbacks import CleanFeatures, KNNEvaluation, ValidationLoss
from dal_toolbox.ssl.losses import byol_loss
from dal_toolbox.ssl.optimization import build_optimizer
from dal_toolbox.ssl.schedule import target_momentum

SMALL = {"projector_dim": 8, "projector_hidden_dim": 16, "predictor_hidden_dim": 16}


@pytest.fixture
def byol():
    """A function that builds the same small BYOL every time."""

    def method(kind=BYOL, **options):
        torch.manual_seed(0)
        encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
        return kind(encoder, **{**SMALL, **options})

    return method


@pytest.fixture
def augment(bundle):
    return RECIPES.build("byol", size=8, mean=bundle.mean, std=bundle.std)


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_loss_of_equal_and_opposite_vectors():
    z = rand(6, 4)
    other = z.roll(3, dims=0)
    assert float(byol_loss(7 * other, z)) == pytest.approx(0, abs=1e-12)
    assert float(byol_loss(-0.1 * other, z)) == pytest.approx(4)


def test_loss_by_loops():
    p, z = rand(10, 4), rand(10, 4, seed=1)
    pairs = [(i, i + 5) for i in range(5)] + [(i + 5, i) for i in range(5)]
    errors = [float((p[i] / p[i].norm() - z[j] / z[j].norm()).square().sum()) for i, j in pairs]
    assert float(byol_loss(p, z)) == pytest.approx(sum(errors) / 10)


def test_targets_get_no_gradient():
    p, z = rand(4, 3).requires_grad_(), rand(4, 3, seed=1).requires_grad_()
    byol_loss(p, z).backward()
    assert p.grad is not None
    assert z.grad is None


def test_odd_predictions_are_no_pairs():
    with pytest.raises(ValueError, match="5 predictions"):
        byol_loss(rand(5, 3), rand(5, 3))


@pytest.mark.parametrize("start", [0.0, 0.99, 0.996, 1.0])
def test_momentum_is_that_of_the_paper(start):
    for k in range(11):
        expected = 1 - (1 - start) * (math.cos(math.pi * k / 10) + 1) / 2
        assert target_momentum(k, 10, start) == pytest.approx(expected)


class Flat(Encoder):
    """One matrix as an encoder."""

    def __init__(self, pixels, num_features):
        super().__init__()
        self.num_features = num_features
        self.linear = nn.Linear(pixels, num_features, bias=False)

    def forward(self, x):
        return self.linear(x.flatten(1))


def test_a_step_against_plain_tensors_in_float64():
    """Loss, gradient step and moving average, written down once more without any module."""
    method = BYOL(Flat(12, 5), **SMALL, target_momentum=0.9).double()
    with torch.no_grad():  # else the target would be equal
        for seed, weight in enumerate(method.target.parameters()):
            weight += 0.1 * rand(*weight.shape, seed=seed)
    online = {key: x.detach().clone() for key, x in method.named_parameters()}
    views = rand(2 * 9, 3, 2, 2)

    def normalized(x, gain, bias):
        return gain * (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() + bias

    def head(x, weights, prefix):
        hidden = normalized(
            x @ weights[f"{prefix}.0.weight"].T,
            weights[f"{prefix}.1.weight"],
            weights[f"{prefix}.1.bias"],
        ).clamp(min=0)
        return hidden @ weights[f"{prefix}.3.weight"].T + weights[f"{prefix}.3.bias"]

    trained = {k: x.requires_grad_() for k, x in online.items() if not k.startswith("target")}
    target = {k: x for k, x in online.items() if k.startswith("target")}
    expected = torch.zeros((), dtype=torch.float64)
    first, second = views[:9].flatten(1), views[9:].flatten(1)
    for x, other in ((first, second), (second, first)):
        z = head(x @ trained["encoder.linear.weight"].T, trained, "projector")
        p = head(z, trained, "predictor")
        t = head(other @ target["target.0.linear.weight"].T, target, "target.1")
        cosine = (p * t).sum(1) / (p.norm(dim=1) * t.norm(dim=1))
        expected = expected + (2 - 2 * cosine).mean() / 2
    gradients = torch.autograd.grad(expected, list(trained.values()))

    optimizer = build_optimizer(
        method.parameters(), Optimization(momentum=0.0, weight_decay=0.0), learning_rate=0.3
    )
    outputs = method.loss(views)
    outputs["loss"].backward()
    optimizer.step()
    method.after_step(3, total=10)

    assert outputs["loss"].item() == pytest.approx(expected.item(), rel=1e-12)
    new = {k: x - 0.3 * g for (k, x), g in zip(trained.items(), gradients, strict=True)}
    m = 1 - 0.1 * (math.cos(math.pi * 0.3) + 1) / 2
    for key, x in target.items():
        source = key.replace("target.0", "encoder").replace("target.1", "projector")
        new[key] = m * x + (1 - m) * new[source]
    for key, x in method.named_parameters():
        torch.testing.assert_close(x.detach(), new[key].detach(), rtol=1e-10, atol=1e-12)


def test_target_starts_as_the_online_network_and_is_not_optimized(byol):
    method = byol()
    online = [*method.encoder.state_dict().values(), *method.projector.state_dict().values()]
    assert all(map(torch.equal, online, method.target.state_dict().values()))
    for name in ("sgd", "lars", "adamw"):
        optimizer = build_optimizer(method.parameters(), Optimization(name=name), 0.1)
        optimized = {id(w) for group in optimizer.param_groups for w in group["params"]}
        assert optimized.isdisjoint(map(id, method.target.parameters()))
        assert {id(w) for w in method.predictor.parameters()} <= optimized
    method.loss(torch.randn(8, 1, 8, 8))["loss"].backward()
    assert all(w.grad is None for w in method.target.parameters())
    assert all(w.grad is not None for w in method.encoder.parameters())


def test_views_have_their_own_batch_statistics(byol):
    views = torch.cat([torch.randn(8, 1, 8, 8), 3 + torch.randn(8, 1, 8, 8)])
    separate, concatenated = byol(), byol(forward_views="concatenated")
    swapped = torch.cat(views.chunk(2)[::-1])
    loss = separate.loss(views)["loss"]
    assert loss != concatenated.loss(views)["loss"]
    torch.testing.assert_close(loss, separate.loss(swapped)["loss"])
    for method, passes in ((separate, 4), (concatenated, 1)):
        assert int(method.encoder.bn1.num_batches_tracked) == passes
        assert int(method.target[0].bn1.num_batches_tracked) == passes


class Recording(BYOL):
    """Notes the steps, and the target before and after each."""

    def after_step(self, step, total):
        before = [w.clone() for w in self.target.parameters()]
        super().after_step(step, total)
        self.steps = [*getattr(self, "steps", []), (step, total)]
        online = [*self.encoder.parameters(), *self.projector.parameters()]
        m = target_momentum(step, total, self.hparams["target_momentum"])
        for old, new, w in zip(before, self.target.parameters(), online, strict=True):
            torch.testing.assert_close(new, m * old + (1 - m) * w)


def test_target_moves_once_an_optimizer_step(train, byol, augment):
    result = train(
        method=byol(Recording), augment=augment, batch_size=10, accumulate_batches=3, epochs=3
    )  # 7 batches an epoch: 3 + 3 + 1
    assert result.method.steps == [(step, 9) for step in range(9)]


def losses(result):
    return [row["train/loss"] for row in result.rows]


@pytest.mark.parametrize("accumulate_batches", [1, 2])
def test_interrupted_run_continues_with_the_same_losses(
    train, interrupted, byol, augment, accumulate_batches
):
    def options():
        return {
            "method": byol(target_momentum=0.9),
            "augment": augment,
            "batch_size": 20,
            "accumulate_batches": accumulate_batches,
            "optimization": Optimization(name="lars", base_lr=0.4, warmup_epochs=1),
        }

    whole = train("whole", **options())
    interrupted(1, folder="parts", **options())
    interrupted(2, folder="parts", **options())
    parts = train("parts", **options())
    assert parts.resumed_from == 2
    assert losses(parts) == losses(whole)
    one, two = whole.method.state_dict(), parts.method.state_dict()
    assert any(key.startswith("target.") for key in one)
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(byol, augment, few, dtype):
    method = byol().configure(augment, Optimization(), 32)
    with torch.autocast("cpu", dtype=dtype):
        outputs = method.loss(method.views(few.batch(np.arange(32))))
    assert outputs["loss"].dtype == torch.float32
    outputs["loss"].backward()
    assert all(torch.isfinite(w.grad).all() for w in method.parameters() if w.requires_grad)


def test_it_learns_digits_and_does_not_collapse(train, byol, bundle):
    recipe = {"size": 8, "mean": bundle.mean, "std": bundle.std}
    features = CleanFeatures(
        bundle.train, bundle.val, split="val", mean=bundle.mean, std=bundle.std
    )
    result = train(
        images=bundle.train,
        method=byol(
            projector_dim=32,
            projector_hidden_dim=128,
            predictor_hidden_dim=128,
            target_momentum=0.99,
        ),
        augment=RECIPES.build("digits", **recipe),
        epochs=12,
        batch_size=128,
        optimization=Optimization(name="adamw", base_lr=3e-3, lr_scaling="none", weight_decay=1e-4),
        callbacks=[
            KNNEvaluation(features, 10),
            ValidationLoss(bundle.val, RECIPES.build("mild", **recipe)),
        ],
    )
    untrained, first, *_, last = result.rows
    assert last["val/knn_accuracy"] > untrained["val/knn_accuracy"] + 0.03  # 80 % from 73 %
    assert last["train/loss"] < first["train/loss"] - 0.1
    assert last["train/projection_std"] > 0.5
    assert 0 < last["train/contrastive_top1"] < 1
    assert 0 < last["val/loss"] < 2


def test_registered_with_its_views():
    assert SSL_METHODS["byol"] is BYOL
    assert SSL_METHODS["byol"].default_augmentation == "byol"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target_momentum": 1.5}, "^target_momentum=1.5: must be a number from 0 to 1"),
        ({"predictor_hidden_dim": 0}, "^predictor_hidden_dim=0"),
        ({"projector_hidden_dim": 0}, "^projector_hidden_dim=0"),
        ({"projector_dim": -1}, "^projector_dim=-1"),
        ({"forward_views": "both"}, "^forward_views='both': choose one of separate, concatenated"),
    ],
)
def test_wrong_options_are_named(byol, wrong, message):
    with pytest.raises(ValueError, match=message):
        byol(**wrong)


def test_defaults_are_those_of_the_paper():
    method = BYOL(Flat(12, 5))
    assert [tuple(w.shape) for w in method.projector.parameters() if w.ndim > 1] == [
        (4096, 5),
        (256, 4096),
    ]
    assert [tuple(w.shape) for w in method.predictor.parameters() if w.ndim > 1] == [
        (4096, 256),
        (256, 4096),
    ]
    assert F.mse_loss(method.target[0].linear.weight, method.encoder.linear.weight) == 0
