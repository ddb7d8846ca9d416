"""Precision and memory format, chosen by hardware."""

from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS = ("auto", "32", "bf16", "16")


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """``32``, ``bf16`` or ``16``: what ``auto`` means on this device.

    Half precision pays on GPUs and on processors with matrix units (Intel AMX). Elsewhere bfloat16 is
    emulated and slower than float32.

    Raises:
        ValueError: The precision is none of ``auto``, ``32``, ``bf16``, ``16``.
    """
    if str(precision) not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return str(precision)
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "16"
    return "bf16" if has_matrix_unit() else "32"


def autocast_for(precision: str, device: torch.device | str) -> AbstractContextManager:
    """Autocast context of a precision; nothing at all for ``32``."""
    resolved = resolve_precision(precision, device)
    if resolved == "32":
        return nullcontext()
    dtype = torch.bfloat16 if resolved == "bf16" else torch.float16
    return torch.autocast(torch.device(device).type, dtype=dtype)


def memory_format_for(device: torch.device | str) -> torch.memory_format:
    """The memory format in which convolutions train fastest on this device.

    channels_last also on CPUs: ``small`` at 32 px trained 1.3 to 1.4 times faster than contiguous in
    float32 on two cores with AVX2.
    """
    known = {"cpu", "cuda"}
    return torch.channels_last if torch.device(device).type in known else torch.contiguous_format


def default_device() -> torch.device:
    """The accelerator, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_matrix_unit() -> bool:
    """Whether the processor multiplies bfloat16 tiles in hardware (Intel AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())
