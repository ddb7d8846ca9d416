"""Tensors in a weight file: safetensors or a pickle, flat or nested."""

import pickletools
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from dal_toolbox.errors import UserError

DEEPEST = 50  # dicts inside of dicts
MOST = 1_000_000  # entries of all dicts; a dict that is there n times counts n times
LONGEST = 1_000  # characters of a name
INFLATED = 4  # times a file's size that its content may have: torch.save compresses nothing


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
    content = read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = _flatten(content, path)
    if not tensors:
        raise UserError(
            f"{path} holds no tensors by name; save torch.save(model.state_dict(), path)"
        )
    return tensors


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        UserError: It is none, or not complete.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except MemoryError:
        raise
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no safetensors file, or not complete: {error}") from error
    except Exception as error:  # types of numbers that torch does not have
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _read_pickle(path: Path) -> Any:
    """Only tensors and plain values; the arguments of a command line, which many add, are plain."""
    _refuse_compressed(path)
    try:
        with torch.serialization.safe_globals([Namespace]), warnings.catch_warnings():
            # Of other protocols of pickle, of TorchScript, of sparse tensors: what matters is refused.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises whatever a broken file makes it meet
        raise UserError(f"{path} {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """What is wrong with a file; PyTorch would advise to run what it holds."""
    if "TorchScript" in str(error):
        return (
            "is a TorchScript model, not weights; save "
            "torch.save(torch.jit.load(path).state_dict(), other_path)"
        )
    if isinstance(error, UnpicklingError) and _is_pickle(path):
        return (
            "holds objects other than tensors and plain values; as loading these could run code, it "
            "is refused; where you trust its source, save the weights alone: "
            "torch.save(model.state_dict(), path)"
        )
    return "is no file of torch.save, or not complete"


def _is_pickle(path: Path) -> bool:
    """Whether the file, or the first of the archive that it is, is a complete pickle; runs nothing."""
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return all(True for _ in pickletools.genops(file))
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except Exception:  # of whatever bytes
        return False


def _refuse_compressed(path: Path) -> None:
    """A small archive must not fill the memory.

    Raises:
        UserError: The content is much larger than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # no archive, or a broken one: its reader says so
        return
    if size > INFLATED * path.stat().st_size:
        raise UserError(
            f"{path} is compressed and would unpack to {size / 1e9:.3f} GB; torch.save compresses "
            "nothing: give the file as it was written"
        )


def _flatten(content: Any, path: Path) -> dict[str, Tensor]:
    """Follows dicts with names; the lists and numbers of optimizers hold no weights.

    Raises:
        UserError: The dicts have no end: they are nested too deep, or are too many.
    """
    found: dict[str, Tensor] = {}
    level, seen = [("", content)], 0
    for _ in range(DEEPEST):
        level = [inner for name, value in level for inner in _entries(name, value)]
        seen += len(level)
        found |= {name: value for name, value in level if _is_dense(value)}
        level = [(name, value) for name, value in level if isinstance(value, Mapping)]
        if not level:
            return found
        if seen + sum(len(value) for _, value in level) > MOST:
            raise UserError(f"{path} holds more than {MOST:,} entries, which no encoder has")
    raise UserError(f"{path} is nested too deep: no more than {DEEPEST} dicts inside of each other")


def _entries(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str) and len(name) + len(key) < LONGEST:
                yield f"{name}.{key}" if name else key, inner


def _is_dense(value: Any) -> bool:
    """Whether it is a tensor with all its numbers in the file: weights are."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized or value.is_complex())
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
