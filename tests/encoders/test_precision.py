"""Precision by hardware."""

import pytest
import torch

from dal_toolbox.encoders import precision
from dal_toolbox.encoders.precision import (
    autocast_for,
    memory_format_for,
    precision_reason,
    resolve_device,
    resolve_precision,
)


def test_auto_is_float32_without_matrix_unit(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: False)
    assert resolve_precision("auto", "cpu") == "32"


def test_auto_is_bfloat16_with_matrix_unit(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: True)
    assert resolve_precision("auto", "cpu") == "bf16"


@pytest.mark.parametrize("vectors", [False, True])
def test_auto_trains_in_bfloat16_where_vectors_multiply_it(monkeypatch, vectors):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: False)
    monkeypatch.setattr(precision, "has_bfloat16_vectors", lambda: vectors)
    assert resolve_precision("auto", "cpu", training=True) == ("bf16" if vectors else "32")
    assert resolve_precision("auto", "cpu") == "32"  # features keep their digits
    reason = precision_reason("auto", "cpu", training=True)
    assert reason == ("a processor with AVX512-BF16" if vectors else "no fast bfloat16 here")


def test_explicit_precision_is_kept():
    assert resolve_precision("bf16", "cpu") == "bf16"
    assert precision_reason("bf16", "cpu") == "as asked"


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_devices_by_name(device):
    assert resolve_device(device) == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    "device", ["tpu", "cuda:999", "mps:7", "cpu:1", "", None, 10**6, float("nan")]
)
def test_devices_that_are_not_there(device):
    with pytest.raises(ValueError, match="^device="):
        resolve_device(device)


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
