"""The distribution of the random parameters."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare, kstest

from dal_toolbox.augment.parameters import NEVER, NO_HUE, NO_JITTER, Distribution, Parameters
from dal_toolbox.augment.view import View

N = 4000
VIEW = View(
    brightness=0.4,
    contrast=(0.5, 0.9),
    saturation=1.5,
    hue=0.2,
    jitter=0.8,
    grayscale=0.2,
    blur=0.5,
    sigma=(0.1, 2.0),
    solarize=0.3,
)


def draw(*views, n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Parameters.of(Distribution(views).draw(n, 32, 32, generator).flatten(0, 1))


@pytest.fixture(scope="module")
def drawn():
    return draw(VIEW)


def test_rates_are_those_asked_for(drawn):
    rates = {
        0.5: drawn.flip,
        0.8: drawn.stage != NO_JITTER,
        0.2: drawn.grayscale,
        0.50001: drawn.sigma > 0,
        0.3: drawn.threshold < NEVER,
    }
    for p, chosen in rates.items():
        assert abs(chosen.float().mean() - p) < 4 * (p * (1 - p) / N) ** 0.5


def test_factors_are_uniform_in_their_ranges(drawn):
    ranges = [(0.6, 1.4), (0.5, 0.9), (0.0, 2.5)]
    for operation, (low, high) in enumerate(ranges):
        values = drawn.factors[drawn.blends == operation]
        assert len(values) == N
        assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-3
    assert kstest(drawn.hue.squeeze(1), "uniform", (-0.2, 0.4)).pvalue > 1e-3
    assert kstest(drawn.sigma[drawn.sigma > 0], "uniform", (0.1, 1.9)).pvalue > 1e-3


def test_all_orders_of_the_color_operations_are_equally_likely(drawn):
    orders = torch.cat([drawn.blends, drawn.stage], dim=1)[drawn.stage.squeeze(1) < NO_HUE]
    code = orders @ torch.tensor([64.0, 16, 4, 1])
    counts = torch.unique(code, return_counts=True)[1]
    assert len(counts) == 24
    assert chisquare(counts).pvalue > 1e-3


def test_parameters_are_independent(drawn):
    values = torch.cat(
        [
            drawn.boxes[:, 2:].prod(1, keepdim=True),
            drawn.flip,
            (drawn.stage == NO_JITTER).float(),
            drawn.factors.gather(1, drawn.blends.argsort(1)),
            drawn.hue,
            drawn.grayscale,
            drawn.sigma,
            (drawn.threshold < NEVER).float(),
        ],
        dim=1,
    ).T
    correlations = torch.corrcoef(values) - torch.eye(len(values))
    assert correlations.abs().max() < 4.5 / N**0.5


def test_views_are_independent_and_have_their_own_parameters():
    drawn = draw(VIEW, View(flip=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0)))
    first, second = (
        Parameters(*columns) for columns in zip(*(c.chunk(2) for c in drawn), strict=True)
    )
    assert torch.equal(first.boxes, draw(VIEW).boxes)  # the first view draws first
    assert not second.flip.any()
    assert second.stage.eq(NO_JITTER).all()
    assert second.boxes.eq(torch.tensor([0, 0, 32, 32])).all()


def test_switching_an_operation_off_leaves_the_others_as_they_were(drawn):
    other = draw(replace(VIEW, flip=0.0, blur=0.0, hue=0.0, scale=(0.5, 1.0)))
    assert torch.equal(other.factors, drawn.factors)
    assert torch.equal(other.blends, drawn.blends)
    assert torch.equal(other.grayscale, drawn.grayscale)
    assert torch.equal(other.stage == NO_JITTER, drawn.stage == NO_JITTER)
    assert set(other.stage.flatten().tolist()) == {NO_HUE, NO_JITTER}


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_probabilities_zero_and_one_mean_never_and_always(p):
    drawn = draw(replace(VIEW, flip=p, jitter=p, grayscale=p, blur=p, solarize=p))
    assert drawn.flip.eq(p == 1).all()
    assert drawn.grayscale.eq(p == 1).all()
    assert (drawn.stage < NO_JITTER).eq(p == 1).all()
    assert (drawn.sigma > 0).eq(p == 1).all()
    assert (drawn.threshold < NEVER).eq(p == 1).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"flip": 1.5}, "flip=1.5: must be a number from 0 to 1"),
        ({"blur": "often"}, "blur='often'"),
        ({"scale": (0.0, 1.0)}, r"scale=\(0.0, 1.0\)"),
        ({"scale": (0.5, 0.2)}, "increasing"),
        ({"ratio": (1.0,)}, "ratio"),
        ({"hue": 0.6}, r"hue=0.6: .* \[-0.5, 0.5\]"),
        ({"brightness": -0.1}, "brightness=-0.1"),
        ({"contrast": (-1.0, 1.0)}, "contrast"),
        ({"sigma": (0.0, 1.0)}, "sigma"),
        ({"kernel_size": 4}, "kernel_size=4: .* odd"),
        ({"kernel_size": (3, 5, 7)}, "one or two odd"),
    ],
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        View(**wrong)
