import math

import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.ssl.losses import contrastive_accuracy, nt_xent

TEMPERATURES = [0.05, 0.07, 0.1, 0.5]


def nt_xent_by_hand(z, temperature):
    """Eq. 1 of the paper, literally, in float64."""
    z = F.normalize(z.double(), dim=1)
    n = len(z) // 2
    losses = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        similarity = [float(z[i] @ z[k]) / temperature for k in range(2 * n)]
        others = [s for k, s in enumerate(similarity) if k != i]
        losses.append(math.log(sum(math.exp(s) for s in others)) - similarity[j])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("n", [1, 2, 7, 32])
def test_nt_xent_is_equation_1(n, temperature):
    z = torch.randn(2 * n, 16, generator=torch.Generator().manual_seed(n))
    assert float(nt_xent(z, temperature)) == pytest.approx(
        nt_xent_by_hand(z, temperature), rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_computed_in_float32(dtype, temperature):
    anchor = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    z = torch.cat([anchor, anchor + 0.05]).to(dtype)  # an easy task: the loss is small
    with torch.autocast("cpu", dtype=dtype):
        loss = nt_xent(z, temperature)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(nt_xent_by_hand(z, temperature), rel=1e-4, abs=1e-6)


def test_closed_forms():
    n, temperature = 8, 0.5
    same = torch.ones(2 * n, 4)
    assert float(nt_xent(same, temperature)) == pytest.approx(math.log(2 * n - 1))
    orthogonal = torch.eye(n).repeat(2, 1)  # both views equal, images orthogonal
    expected = math.log(math.exp(1 / temperature) + 2 * n - 2) - 1 / temperature
    assert float(nt_xent(orthogonal, temperature)) == pytest.approx(expected)


def test_gradient():
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: nt_xent(z, 0.1), z)


def test_scale_and_order_of_views_do_not_matter():
    z = torch.randn(20, 8)
    loss = nt_xent(z, 0.1)
    torch.testing.assert_close(nt_xent(7 * z, 0.1), loss)
    torch.testing.assert_close(nt_xent(z.roll(10, dims=0), 0.1), loss)


def test_small_temperature_does_not_overflow():
    assert torch.isfinite(nt_xent(torch.randn(64, 8), 0.005))


def test_odd_number_of_projections():
    with pytest.raises(ValueError, match="3 projections are not two views"):
        nt_xent(torch.randn(3, 2), 0.1)


def test_contrastive_accuracy():
    z = torch.eye(6).repeat(2, 1)
    assert contrastive_accuracy(z) == (1, 1)
    # the first image's views are each other's farthest, all else is found
    z = torch.eye(6, dtype=torch.float64).repeat(2, 1)
    z[6] = -z[0]
    top1, top11 = contrastive_accuracy(z, topk=(1, 11))
    assert float(top1) == pytest.approx(10 / 12)
    assert float(top11) == 1


def test_collapsed_projections_find_nothing():
    assert contrastive_accuracy(torch.ones(16, 4)) == (0, 0)
