import numpy as np
import pytest
import torch

from dal_toolbox.features import finite, rows_not_finite


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("block", [1, 100, 2**26])
def test_rows_are_those_of_a_full_look(monkeypatch, dtype, block):
    monkeypatch.setattr(finite, "BLOCK_BYTES", block)
    values = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    values[[3, 17, 49], [0, 5, 2]] = torch.tensor([np.nan, np.inf, -np.inf]).to(dtype)
    values[20, :2] = torch.tensor([np.inf, -np.inf]).to(dtype)
    values[30] = torch.finfo(dtype).max  # finite, though its square may be too large
    large = [30] if dtype != torch.float16 else []
    assert rows_not_finite(values).tolist() == sorted([3, 17, 20, 49, *large])
    assert rows_not_finite(values[4:17]).tolist() == []
    assert rows_not_finite(values[:0]).tolist() == []
