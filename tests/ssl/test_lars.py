import copy

import pytest
import torch
from torch import nn

from dal_toolbox.ssl.lars import LARS


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def fill_gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def reference_step(parameter, velocity, *, lr, momentum, weight_decay, eta):
    """The formulas for one parameter, in float64."""
    w, g, v = (x.double() for x in (parameter.detach(), parameter.grad, velocity))
    ratio = 1.0
    if w.ndim > 1:
        g = g + weight_decay * w
        if w.norm() > 0 and g.norm() > 0:
            ratio = eta * float(w.norm() / g.norm())
    v = momentum * v + lr * ratio * g
    return w - v, v


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_steps_follow_the_formulas(weight_decay):
    model = network()
    options = {"momentum": 0.9, "weight_decay": weight_decay}
    optimizer = LARS(model.parameters(), lr=0.3, trust_coefficient=0.02, **options)
    velocities = [torch.zeros_like(p) for p in model.parameters()]
    for step, lr in enumerate([0.3, 0.3, 0.1]):  # the rate changes: classic differs from popular
        optimizer.param_groups[0]["lr"] = lr
        fill_gradients(model, step)
        expected = [
            reference_step(p, v, lr=lr, eta=0.02, **options)
            for p, v in zip(model.parameters(), velocities, strict=True)
        ]
        velocities = [v for _, v in expected]
        optimizer.step()
        for parameter, (w, _) in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.detach().double(), w, rtol=1e-5, atol=1e-7)


def test_adapts_without_weight_decay():
    weight = nn.Parameter(torch.full((3, 3), 2.0))
    weight.grad = torch.full((3, 3), 1e-6)
    LARS([weight], lr=1.0, trust_coefficient=0.001).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 3), 2.0 - 0.002))


def test_vectors_take_plain_steps():
    bias = nn.Parameter(torch.ones(3))
    bias.grad = torch.full((3,), 0.5)
    LARS([bias], lr=0.1, weight_decay=100.0).step()
    torch.testing.assert_close(bias.detach(), torch.full((3,), 0.95))


def test_zero_weights_and_gradients_have_ratio_1():
    weight, still = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    weight.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([weight, still], lr=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), -0.1))
    torch.testing.assert_close(still.detach(), torch.ones(2, 2))


def test_parameters_without_gradient_stay():
    weight = nn.Parameter(torch.ones(2, 2))
    LARS([weight], lr=0.1, weight_decay=1.0).step()
    assert torch.equal(weight.detach(), torch.ones(2, 2))


def test_closure():
    model = nn.Linear(3, 1)
    optimizer = LARS(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(4, 3)).square().mean()
        loss.backward()
        return loss

    before = copy.deepcopy(model.state_dict())
    assert optimizer.step(closure).item() > 0
    assert not torch.equal(before["weight"], model.weight)


def test_state_dict_round_trip():
    one, two = network(), network()
    first = LARS(one.parameters(), lr=0.1, weight_decay=1e-3)
    fill_gradients(one)
    first.step()
    two.load_state_dict(one.state_dict())
    second = LARS(two.parameters(), lr=1.0)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for model, optimizer in ((one, first), (two, second)):
        fill_gradients(model, seed=1)
        optimizer.step()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_negative_options():
    with pytest.raises(ValueError, match="momentum=-1"):
        LARS([nn.Parameter(torch.ones(1))], lr=0.1, momentum=-1)
