import itertools
import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import SequentialLR

from dal_toolbox.registry import UnknownName
from dal_toolbox.ssl.heads import PROJECTORS, build_projector
from dal_toolbox.ssl.lars import LARS
from dal_toolbox.ssl.optimization import Optimization, build_optimizer
from dal_toolbox.ssl.schedule import warmup_cosine, warmup_cosine_schedule


def test_warmup_rises_linearly_to_1():
    factors = [warmup_cosine(step, total=100, warmup=10) for step in range(10)]
    assert factors == pytest.approx([0.1 * (step + 1) for step in range(10)])


def test_cosine_falls_to_the_minimum():
    factors = [warmup_cosine(step, total=100, warmup=10, min_ratio=0.1) for step in range(10, 101)]
    assert factors[0] == 1
    assert factors[45] == pytest.approx(0.55)
    assert factors[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(factors))
    assert warmup_cosine(500, total=100, warmup=10, min_ratio=0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (3, 3), (5, 0)])
def test_short_trainings(total, warmup):
    assert all(0 < warmup_cosine(step, total, warmup) <= 1 for step in range(total))


def test_scheduler_gives_every_group_its_rate():
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups, 1.0)
    scheduler = warmup_cosine_schedule(optimizer, total=4, warmup=2)
    seen = []
    for _ in range(4):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    factors = [warmup_cosine(step, 4, 2) for step in range(4)]
    assert seen == [pytest.approx([factor, 0.1 * factor]) for factor in factors]


def rates(scheduler, optimizer, steps):
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def schedule(*, total, warmup, min_ratio):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.3)
    return warmup_cosine_schedule(optimizer, total, warmup, min_ratio), optimizer


@pytest.mark.parametrize(("total", "warmup"), [(50, 5), (50, 0), (7, 7), (1, 0), (1, 1), (9, 8)])
@pytest.mark.parametrize("min_ratio", [0.0, 1e-5])
def test_scheduler_is_one_sequence_with_the_values_of_the_function(total, warmup, min_ratio):
    scheduler, optimizer = schedule(total=total, warmup=warmup, min_ratio=min_ratio)
    assert isinstance(scheduler, SequentialLR)
    steps = total + 3
    expected = [0.3 * warmup_cosine(step, total, warmup, min_ratio) for step in range(steps)]
    assert rates(scheduler, optimizer, steps) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("at", [1, 4, 5, 6, 19])
def test_resumed_scheduler_goes_on(at):
    options = {"total": 20, "warmup": 5, "min_ratio": 0.01}
    whole = rates(*schedule(**options), 20)
    first, optimizer = schedule(**options)
    rates(first, optimizer, at)
    second, other = schedule(**options)
    second.load_state_dict(first.state_dict())
    other.load_state_dict(optimizer.state_dict())
    other._opt_called = True  # as after any step, which a trainer resumes behind
    assert rates(second, other, 20 - at) == whole[at:]


def test_warmup_as_a_share_or_in_epochs():
    assert Optimization(warmup_share=0.1).warmup_steps(total=5000, epochs=50) == 500
    assert Optimization(warmup_epochs=5).warmup_steps(total=5000, epochs=50) == 500
    assert Optimization(warmup_epochs=80).warmup_steps(total=5000, epochs=50) == 5000
    assert Optimization().warmup_steps(total=5000, epochs=50) == 0
    assert "warmup of 10 % of all steps" in Optimization(warmup_share=0.1).describe(256)


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.3), ("linear", 1.2), ("sqrt", 0.6)])
def test_learning_rate_scaling(scaling, expected):
    optimization = Optimization(base_lr=0.3, lr_scaling=scaling)
    assert optimization.learning_rate(1024) == pytest.approx(expected)
    assert f"learning rate {expected:g} = 0.3" in optimization.describe(1024)


def test_sqrt_scaling_of_the_paper():
    optimization = Optimization(base_lr=0.075, lr_scaling="sqrt", base_batch_size=1)
    assert optimization.learning_rate(4096) == pytest.approx(0.075 * math.sqrt(4096))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "adma"}, r"^name='adma': choose one of sgd, lars, adamw"),
        ({"lr_scaling": "cubic"}, "^lr_scaling='cubic'"),
        ({"base_lr": 0.0}, "^base_lr=0.0: must be a number above 0"),
        ({"weight_decay": -1.0}, "^weight_decay=-1.0: must be a number from 0"),
        ({"momentum": 1.5}, "^momentum=1.5: must be a number from 0 to 1"),
        ({"momentum": 1}, "^momentum=1: must be below 1"),
        ({"warmup_share": 10}, "^warmup_share=10: must be a number from 0 to 1"),
        ({"warmup_share": 0.1, "warmup_epochs": 5}, "^warmup_share=0.1: .* both set the warmup"),
    ],
)
def test_wrong_options_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Optimization(**wrong)


def test_optimizers():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    sgd = build_optimizer(model.parameters(), Optimization(name="sgd"), 0.1)
    assert len(sgd.param_groups[0]["params"]) == 3
    lars = build_optimizer(model.parameters(), Optimization(name="lars"), 0.1)
    assert isinstance(lars, LARS)
    adamw = build_optimizer(model.parameters(), Optimization(name="adamw"), 0.1)
    assert [group["weight_decay"] for group in adamw.param_groups] == [5e-4, 0.0]


@pytest.mark.parametrize("name", PROJECTORS)
def test_projectors(name):
    projector = build_projector(name, in_features=12, out_features=5)
    assert projector(torch.randn(4, 12)).shape == (4, 5)
    projector(torch.randn(4, 12)).sum().backward()
    assert all(parameter.grad is not None for parameter in projector.parameters())


@pytest.mark.parametrize("name", ["mlp", "mlp_bn", "mlp3"])
def test_hidden_layers_have_a_width(name):
    layers = [w for w in build_projector(name, 12, 5, 7).parameters() if w.ndim > 1]
    assert layers[0].shape == (7, 12)
    assert layers[-1].shape == (5, 7)


def test_unknown_projector():
    with pytest.raises(UnknownName, match="Did you mean 'mlp'"):
        build_projector("mpl", 2, 2)
