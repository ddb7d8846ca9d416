"""Tensors in a weight file: safetensors or a pickle, flat or nested."""

import warnings
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from dal_toolbox.errors import UserError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file under dotted names: ``state_dict.encoder.conv1.weight``.

    Args:
        path: ``.safetensors``, or anything that ``torch.save`` wrote (``.pth``, ``.pt``, ``.ckpt``,
            ``.pth.tar``); a run folder stands for its ``encoder.safetensors``.

    Raises:
        UserError: There is no such file, it cannot be read, or it holds code.
    """
    path = path / "encoder.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"no weights at {path}; give a .pth, .pt, .ckpt or .safetensors file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    tensors = dict(_flatten(_read_pickle(path)))
    if not tensors:
        raise UserError(
            f"{path} holds no tensors by name; save torch.save(model.state_dict(), path)"
        )
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no safetensors file, or not complete: {error}") from error


def _read_pickle(path: Path) -> Any:
    """Only tensors and plain values; the arguments of a command line, which many add, are plain."""
    try:
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            # Said of TorchScript archives, which are refused below.
            warnings.filterwarnings("ignore", ".*looks like a TorchScript archive", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise UserError(
                f"{path} holds pickled code, which could do anything when loaded, and is refused; "
                "where you trust its source, save the weights alone: "
                "torch.save(model.state_dict(), path)"
            ) from error
        raise UserError(f"{path} is no file of torch.save, or not complete") from error
    except Exception as error:  # torch.load raises whatever a broken file makes it meet
        if "TorchScript" in str(error):
            raise UserError(
                f"{path} is a TorchScript model, not weights; save "
                "torch.save(torch.jit.load(path).state_dict(), other_path)"
            ) from error
        raise UserError(f"{path} is no file of torch.save, or not complete") from error


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Follows dicts with names; the lists and numbers of optimizers hold no weights."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _flatten(inner, f"{name}.{key}" if name else key)
