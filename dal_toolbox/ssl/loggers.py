"""Loggers beside ``metrics.csv``, by name."""

from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from dal_toolbox.errors import UserError

NAMES = ("csv", "tensorboard", "wandb")


def make_loggers(name: str, folder: Path) -> list[Logger]:
    """The loggers that a run asks for; ``csv`` is always written and needs none.

    Args:
        name: ``csv``, ``tensorboard`` or ``wandb``.
        folder: The run folder.

    Raises:
        UserError: The name is unknown, or the package is not installed.
    """
    if name not in NAMES:
        raise UserError(f"logger={name}: choose one of {', '.join(NAMES)}")
    if name == "csv":
        return []
    if find_spec(name) is None:
        raise UserError(f"logger={name} needs a package: pip install -e '.[{name}]'")
    if name == "tensorboard":
        return [TensorBoardLogger(folder, name="tensorboard", version="")]
    return [WandbLogger(project="dal_toolbox", save_dir=folder, name=folder.name)]
