"""Every argument of every encoder: refused by its name before anything is allocated, or it runs."""

import inspect
import re
import resource
import socket
from pathlib import Path

import pytest
import torch

from dal_toolbox import encoders
from dal_toolbox.config.help import arguments_of
from dal_toolbox.encoders import ENCODERS, create_encoder
from dal_toolbox.encoders.timm import TimmEncoder
from dal_toolbox.encoders.wide_resnet import WideResNet
from dal_toolbox.errors import UserError
from dal_toolbox.hyperparameters import hyperparameters
from dal_toolbox.registry import UnknownName

NAN, INF = float("nan"), float("inf")
NEVER = [NAN, INF, -INF, None, "", "no such thing", "hf-hub:a/b", (), [3], {}, 1j, -1, 10**9, 1e30]
BORDERS = [0, 1, 2, 7, 0.5, 1.0, True, False]
SIZES = ("image_size", "in_channels")


def cases():
    for name in ENCODERS:
        for argument in (*SIZES, *hyperparameters(ENCODERS[name]), "checkpoint", "no_such"):
            for value in [*NEVER, *BORDERS]:
                wrong = value in NEVER and not (argument == "checkpoint" and value is None)
                yield pytest.param(name, argument, value, wrong, id=f"{name}-{argument}-{value!r}")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def fails(*_arguments, **_keywords):
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    for key in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(key, raising=False)
        monkeypatch.delenv(key.upper(), raising=False)


@pytest.mark.parametrize(("name", "argument", "value", "wrong"), list(cases()))
def test_refused_by_name_or_runs(name, argument, value, wrong):
    arguments = {"image_size": 32, "in_channels": 3, argument: value}
    before = peak()
    try:
        encoder = create_encoder(name, **arguments)
    except ValueError as error:
        message = str(error)
        assert message.lower().startswith(f"{argument}={value!s}".lower()) or message.startswith(
            f"{argument}={value!r}"
        )
        assert "\n" not in message
        assert peak() - before < 2**18, "more than 256 MB were allocated first"
        return
    assert not wrong
    size = arguments["image_size"]
    features = encoder.eval()(torch.zeros(1, arguments["in_channels"], size, size))
    assert features.shape == (1, encoder.num_features)
    assert features.isfinite().all()


def peak():
    """Largest memory of this process so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("depth", [0, -1, 9, 11, 10**9, NAN, None, "a", 28.5])
def test_depth_of_a_wide_resnet(depth):
    with pytest.raises(ValueError, match="^depth="):
        WideResNet(32, 3, depth, 1)


@pytest.mark.parametrize("width", [0, -1, 10**9, NAN, None, "a", 2.5])
def test_width_of_a_wide_resnet(width):
    with pytest.raises(ValueError, match="^width="):
        WideResNet(32, 3, 10, width)


@pytest.mark.parametrize("name", [3, None, "", (), "resnet81", "hf-hub:a/b", "local-dir:/tmp"])
def test_names_that_do_not_exist(name):
    with pytest.raises(UnknownName, match=r"no encoder '"):
        create_encoder(name, image_size=32)


def test_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match=r"^model=resnet17: timm has no such .* mean 'resnet"):
        create_encoder("timm", image_size=32, model="resnet17")


def test_models_whose_weights_cannot_be_fetched():
    for name in [*ENCODERS, "mambaout_femto", "vgg11", "test_vit"]:
        takes = name not in ENCODERS or "pretrained" in hyperparameters(ENCODERS[name])
        if takes:
            with pytest.raises(
                UserError, match=r"^pretrained=true: no pretrained weights"
            ) as caught:
                create_encoder(name, image_size=32, pretrained=True)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ENCODERS)
def test_constructors_check_without_the_registry(name):
    factory = ENCODERS[name]
    for argument in SIZES:
        for value in (0, -1, 10**9, "a", None, 2.5, True):
            with pytest.raises(ValueError, match=f"^{argument}="):
                factory(**{"image_size": 32, "in_channels": 3, argument: value})


def test_constructors_check_types_without_the_registry():
    for argument, value in (("drop_path_rate", "a"), ("pretrained", "no"), ("model", 3)):
        with pytest.raises(ValueError, match=f"^{argument}="):
            TimmEncoder(32, 3, **{argument: value})
    for name, argument, value in (("small", "width", "a"), ("resnet18", "stem", "a")):
        with pytest.raises(ValueError, match=f"^{argument}="):
            ENCODERS[name](32, 3, **{argument: value})


@pytest.mark.parametrize("name", ENCODERS)
def test_every_argument_is_described(name):
    texts = arguments_of(ENCODERS[name])
    for argument in hyperparameters(ENCODERS[name]):
        assert len(texts.get(argument, "")) > 15, argument
    assert inspect.getdoc(ENCODERS[name])


def test_messages_know_no_config_keys():
    keys = re.compile(r"encoder\.(checkpoint|pretrained|stem|model=)|encoder=|dataset\.image_size")
    for file in Path(encoders.__file__).parent.glob("*.py"):
        assert not keys.search(file.read_text()), file.name
