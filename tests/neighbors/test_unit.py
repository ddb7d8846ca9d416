import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.neighbors import NotFinite, unit_norm
from dal_toolbox.neighbors._unit import BLOCK

ROWS = torch.randn(2 * BLOCK + 7, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_have_unit_norm(dtype):
    unit = unit_norm(ROWS.to(dtype))
    assert unit.dtype == torch.float32
    torch.testing.assert_close(unit, F.normalize(ROWS.to(dtype).float()), atol=1e-6, rtol=0)


def test_unit_rows_are_not_copied():
    unit = F.normalize(ROWS)
    assert unit_norm(unit) is unit
    assert unit_norm(unit[3:9]).data_ptr() == unit[3:9].data_ptr()


@pytest.mark.parametrize("other", [0.0, 1.001, 1e-20, 5.0])
def test_a_row_is_scaled_the_same_whatever_the_others(other):
    unit = F.normalize(ROWS)
    mixed = unit.clone()
    mixed[-1] *= other
    result = unit_norm(mixed)
    assert torch.equal(result[:-1], unit[:-1])
    norm = float(result[-1].norm())
    assert norm == pytest.approx(1, abs=1e-6) if other > 1e-12 else norm < 1e-7


def test_features_stay_as_they_are():
    rows = ROWS.clone()
    unit_norm(rows)
    assert torch.equal(rows, ROWS)


def test_no_rows():
    assert unit_norm(torch.empty(0, 4)).shape == (0, 4)
    assert unit_norm(torch.empty(0, 4).half()).dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_rows_without_a_norm_are_refused(value):
    rows = torch.ones(5, 3)
    rows[2, 1] = value
    with pytest.raises(NotFinite, match="too large for float32"):
        unit_norm(rows)
