"""Files of checkpoints: written in whole, and checked when they are read."""

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from dal_toolbox.errors import UserError
from dal_toolbox.io import atomic_file

FACTS = "dal_toolbox"  # key of the run's facts in a checkpoint
NEEDED = {FACTS, "epoch", "state_dict", "callbacks", "optimizer_states", "lr_schedulers"}


class DamagedCheckpoint(UserError):
    """A checkpoint whose bytes are not those that were written."""


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints where they are wanted; Lightning takes a detour by a folder for temporary files."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes a file; a full disk is an ``OSError``."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of a training, checked by the checksums that torch writes into it and never reads.

    Raises:
        OSError: The file cannot be opened.
        DamagedCheckpoint: Its bytes are not those that were written, or it is no checkpoint.
    """
    path.open("rb").close()
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None  # the CRC-32 of every tensor
        checkpoint = torch.load(path, map_location="cpu", weights_only=True) if whole else {}
    except Exception as error:  # whatever zipfile and torch make of such bytes
        raise DamagedCheckpoint(f"{path} is damaged, or no checkpoint") from error
    if not isinstance(checkpoint, dict) or not checkpoint.keys() >= NEEDED:
        raise DamagedCheckpoint(f"{path} is damaged, or no checkpoint")
    return checkpoint


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Loads the weights of a checkpoint into a method.

    Raises:
        UserError: There is no such file, it is damaged, or its weights are those of another network.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint {path}; it is written at the end of an epoch")
    weights = read_checkpoint(path)["state_dict"]
    check_weights(module, weights, str(path))
    module.load_state_dict(weights)


def check_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """Checks that weights fit a network.

    Raises:
        UserError: Names or shapes differ.
    """
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    if wanted != found:
        name = next(key for key in {**wanted, **found} if wanted.get(key) != found.get(key))
        raise UserError(
            f"{source} belongs to another network: {name} has shape {_shape(found.get(name))}, not "
            f"{_shape(wanted.get(name))}; choose another folder, or delete this checkpoint"
        )


def copy(source: Path, target: Path) -> None:
    """Copies a file in whole or not at all."""
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)


def epoch_of(file: Path) -> int | None:
    """The epoch of a checkpoint, from 1; None where it is missing or damaged."""
    try:
        return int(read_checkpoint(file)["epoch"]) + 1
    except (DamagedCheckpoint, FileNotFoundError):
        return None


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(tuple(shape))
