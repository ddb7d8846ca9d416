"""Loggers beside ``metrics.csv``, by name."""

from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from dal_toolbox.arguments import one_of
from dal_toolbox.errors import UserError

NAMES = ("csv", "tensorboard", "wandb")


def make_loggers(name: str, folder: Path) -> list[Logger]:
    """The loggers that a run asks for; ``csv`` is always written and needs none.

    Args:
        name: ``csv``, ``tensorboard`` or ``wandb``.
        folder: The run folder.

    Raises:
        ValueError: The name is unknown.
        UserError: The package is not installed.
    """
    check_logger(name)
    if name == "csv":
        return []
    if name == "tensorboard":
        return [TensorBoardLogger(folder, name="tensorboard", version="")]
    return [WandbLogger(project="dal_toolbox", save_dir=folder, name=folder.name)]


def check_logger(name: str) -> None:
    """Checks that :func:`make_loggers` can make what it is asked for.

    Raises:
        ValueError: The name is unknown.
        UserError: The package is not installed.
    """
    one_of(NAMES, name=name)
    if name != "csv" and find_spec(name) is None:
        raise UserError(f"name={name}: needs a package: pip install -e '.[{name}]'")
