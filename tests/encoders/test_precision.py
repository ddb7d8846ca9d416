"""Precision by hardware."""

import pytest
import torch

from dal_toolbox.encoders import precision
from dal_toolbox.encoders.precision import autocast_for, memory_format_for, resolve_precision


def test_auto_is_float32_without_matrix_unit(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: False)
    assert resolve_precision("auto", "cpu") == "32"


def test_auto_is_bfloat16_with_matrix_unit(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: True)
    assert resolve_precision("auto", "cpu") == "bf16"


def test_explicit_precision_is_kept():
    assert resolve_precision("bf16", "cpu") == "bf16"


def test_unknown_precision_names_the_choices():
    with pytest.raises(ValueError, match="precision='64': choose one of auto, 32, bf16, 16"):
        resolve_precision("64", "cpu")


def test_autocast_changes_the_dtype_of_matrix_products():
    x = torch.randn(4, 4)
    with autocast_for("bf16", "cpu"):
        assert (x @ x).dtype == torch.bfloat16
    with autocast_for("32", "cpu"):
        assert (x @ x).dtype == torch.float32


def test_convolutions_are_channels_last():
    assert memory_format_for("cpu") == torch.channels_last
