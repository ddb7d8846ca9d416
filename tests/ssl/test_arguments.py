"""Every argument with values that nobody means: an error that names it, or an object that works."""

import inspect

import pytest
import torch

from dal_toolbox.augment import RECIPES
from dal_toolbox.encoders import create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.ssl import SSL_METHODS, Optimization
from dal_toolbox.ssl.callbacks import (
    CollapseMonitor,
    ContrastiveAccuracy,
    FiniteLoss,
    KNNEvaluation,
    LinearEvaluation,
    NonFiniteLoss,
    ValidationLoss,
)
from dal_toolbox.ssl.evaluation import EvaluationPlan
from dal_toolbox.ssl.heads import PROJECTORS, build_projector
from dal_toolbox.ssl.lars import LARS
from dal_toolbox.ssl.options import TrainingOptions

VALUES = [0, -1, 10**30, 1e300, 1e-300, float("nan"), float("inf"), None, "many", True, [], {}, 0.5]
NUMBERS = [value for value in VALUES if value not in ("many", True)]
SMALL = {"projector_dim": 8, "projector_hidden_dim": 8, "predictor_hidden_dim": 8}


def arguments(factory):
    """Arguments with a default: those that a config gives."""
    parameters = inspect.signature(factory).parameters.items()
    return [name for name, parameter in parameters if parameter.default is not parameter.empty]


def attempt(name, make):
    """What is made, or None if the argument is refused by name."""
    try:
        return make()
    except (ValueError, UserError) as error:
        message = str(error)
        assert message.startswith(f"{name}="), message
        assert "\n" not in message
        return None


def small_method(name, **options):
    torch.manual_seed(0)
    encoder = create_encoder("small", image_size=8, in_channels=1, width=8)
    known = inspect.signature(SSL_METHODS[name]).parameters
    small = {key: value for key, value in SMALL.items() if key in known}
    return SSL_METHODS.build(name, encoder=encoder, **{**small, **options})


def one_step(method, optimization=None, mean=(0.3,), std=(0.4,)):
    """A forward and a backward pass, an optimizer step, and what follows it; the loss."""
    from dal_toolbox.ssl.optimization import build_optimizer

    recipe = RECIPES.build(method.default_augmentation, size=8, mean=mean, std=std)
    optimization = optimization or Optimization()
    method.configure(recipe, optimization, 16)
    method.to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)
    lr = optimization.learning_rate(16)
    optimizer = build_optimizer(method.parameters(), optimization, lr)
    loss = method.loss(method.views(images))["loss"]
    loss.backward()
    optimizer.step()
    method.after_step(0, total=10)
    return float(loss.detach())


@pytest.mark.parametrize("method", SSL_METHODS)
def test_methods(method):
    refused = set()
    for name in arguments(SSL_METHODS[method]):
        for value in VALUES:
            made = attempt(name, lambda n=name, v=value: small_method(method, **{n: v}))
            if made is None:
                refused.add(name)
            else:
                assert torch.isfinite(torch.tensor(one_step(made))), f"{name}={value!r}"
    assert refused == set(arguments(SSL_METHODS[method]))  # each refuses something


@pytest.mark.parametrize("name", arguments(Optimization))
@pytest.mark.parametrize("optimizer", ["sgd", "lars", "adamw"])
def test_optimization(name, optimizer):
    refused = 0
    for value in VALUES:
        options = {"name": optimizer, name: value}
        made = attempt(name, lambda o=options: Optimization(**o))
        if made is None:
            refused += 1
        else:
            one_step(small_method("simclr"), made)
            assert made.warmup_steps(100, 10) in range(101)
            assert made.describe(256)
    assert refused


PARTS = {
    "EvaluationPlan": lambda **given: EvaluationPlan(**{"linear": {}, **given}),
    "TrainingOptions": TrainingOptions,
    "CollapseMonitor": CollapseMonitor,
    "FiniteLoss": FiniteLoss,
}


@pytest.mark.parametrize(
    "part, name",
    [
        *[("EvaluationPlan", name) for name in arguments(EvaluationPlan) if name != "linear"],
        *[("TrainingOptions", name) for name in arguments(TrainingOptions)],
        *[("CollapseMonitor", name) for name in arguments(CollapseMonitor)],
        *[("FiniteLoss", name) for name in arguments(FiniteLoss)],
    ],
)
def test_plans_and_options(part, name):
    refused = [v for v in VALUES if attempt(name, lambda v=v: PARTS[part](**{name: v})) is None]
    assert refused or name == "monitor"  # of an option: checked where it is known what is measured
    good = {0.5, None, "many", 10**30, 0, 1e300, 1e-300}
    for value in (v for v in VALUES if v not in refused):
        assert value in good, f"{part} takes {name}={value!r}"


@pytest.mark.parametrize("callback", [KNNEvaluation, LinearEvaluation, ValidationLoss])
def test_evaluations(callback, clean, bundle):
    recipe = RECIPES.build("mild", size=8, mean=bundle.mean, std=bundle.std)
    first = (bundle.val, recipe) if callback is ValidationLoss else (clean, 10)
    names = [name for name in arguments(callback) if name not in ("seed", "classifier")]
    for name in names:
        for value in VALUES:
            made = attempt(name, lambda n=name, v=value: callback(*first, **{n: v}))
            assert made is None or value in (0, 10**30, 0.5, 1e300, 1e-300), (name, value)


@pytest.mark.parametrize("value", [0, -1, 0.5, None, "many"])
def test_contrastive_accuracy(value):
    assert attempt("topk", lambda: ContrastiveAccuracy([value])) is None


@pytest.mark.parametrize("name", ["lr", *arguments(LARS)])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), None, "many"])
def test_lars(name, value):
    weights = [torch.nn.Parameter(torch.ones(2, 2))]
    assert attempt(name, lambda: LARS(weights, **{"lr": 0.1, name: value})) is None


@pytest.mark.parametrize("name", PROJECTORS)
@pytest.mark.parametrize("value", [0, -1, 0.5, 10**30, "many"])
def test_projectors(name, value):
    for key in ("out_features", "hidden_features"):
        given = {"in_features": 4, "out_features": 2, key: value}
        assert attempt(key, lambda g=given: build_projector(name, **g)) is None


@pytest.mark.parametrize("base_lr", [1e6, 1e5])
def test_a_training_of_one_step_that_explodes_is_no_success(train, base_lr):
    """After the last step no loss is computed that could tell."""
    optimization = Optimization(base_lr=base_lr, weight_decay=1e6, lr_scaling="none")
    with pytest.raises(NonFiniteLoss, match=r"^base_lr="):
        for _ in range(9):
            train(str(_), epochs=1 + _, optimization=optimization, batch_size=70)
