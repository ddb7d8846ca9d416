"""Projection heads: what stands between the features and the loss."""

from torch import nn

from dal_toolbox.arguments import at_least, between
from dal_toolbox.registry import Registry

PROJECTORS: Registry[nn.Module] = Registry("projector")
WIDEST = 2**16  # eight times the widest of the literature


def build_projector(
    name: str, in_features: int, out_features: int, hidden_features: int | None = None
) -> nn.Module:
    """The projector ``name``, (b, in_features) -> (b, out_features).

    Hidden layers have ``hidden_features``; by default they are as wide as the input.

    Raises:
        UnknownName: No projector has this name.
        ValueError: A width is out of its range.
    """
    hidden = in_features if hidden_features is None else hidden_features
    check_widths(out_features=out_features, hidden_features=hidden)
    return PROJECTORS.build(
        name, in_features=in_features, out_features=out_features, hidden_features=hidden
    )


def check_widths(**widths: int | None) -> None:
    """Checks for widths of layers, by name; None is chosen elsewhere.

    Raises:
        ValueError: One is no integer from 1 to 65,536.
    """
    given = {name: width for name, width in widths.items() if width is not None}
    at_least(1, **given)
    between(1, WIDEST, **given)


@PROJECTORS.register("linear")
def linear(in_features: int, out_features: int, hidden_features: int) -> nn.Module:
    """One linear layer; there is nothing hidden."""
    return nn.Linear(in_features, out_features)


@PROJECTORS.register("mlp")
def mlp(in_features: int, out_features: int, hidden_features: int) -> nn.Module:
    """One hidden layer: g(h) = W₂ max(0, W₁h) (Chen et al., 2020, https://arxiv.org/abs/2002.05709)."""
    return nn.Sequential(
        nn.Linear(in_features, hidden_features),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_features, out_features),
    )


@PROJECTORS.register("mlp_bn")
def mlp_bn(in_features: int, out_features: int, hidden_features: int) -> nn.Module:
    """One hidden layer with batch normalization, as in BYOL and the released code of SimCLR."""
    return nn.Sequential(
        *_hidden(in_features, hidden_features), nn.Linear(hidden_features, out_features)
    )


@PROJECTORS.register("mlp3")
def mlp3(in_features: int, out_features: int, hidden_features: int) -> nn.Module:
    """Two hidden layers (Chen et al., 2020, SimCLRv2, https://arxiv.org/abs/2006.10029)."""
    return nn.Sequential(
        *_hidden(in_features, hidden_features),
        *_hidden(hidden_features, hidden_features),
        nn.Linear(hidden_features, out_features),
    )


def _hidden(in_features: int, width: int) -> tuple[nn.Module, ...]:
    # The normalization subtracts the mean: a bias before it would have no effect.
    return (
        nn.Linear(in_features, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
    )
