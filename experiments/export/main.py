"""Deployment: the encoder of a finished pretraining as files that run without this package."""

from pathlib import Path
from typing import Any

import torch

from dal_toolbox.config import launch
from dal_toolbox.encoders import load_encoder
from dal_toolbox.encoders.export import check_types, export_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_text
from dal_toolbox.progress import console

NUM_IMAGES = 8  # with which a file is compared with its encoder


def main(config: dict[str, Any], folder: Path) -> None:
    """Writes ``deployment_model/`` into the run folder; every file is checked against the encoder."""
    types = check(config["types"])
    encoder, facts = load_encoder(Path(config["run"]))
    run = Path(config["run"]) if Path(config["run"]).is_dir() else Path(config["run"]).parent
    size, channels = encoder.recipe["image_size"], encoder.recipe["in_channels"]
    generator = torch.Generator().manual_seed(0)
    exported = export_encoder(
        encoder, run / "deployment_model", types=types,
        facts={"mean": facts.get("mean"), "std": facts.get("std"), "classes": classes_of(run),
               "dataset": facts.get("dataset")},
        batch=torch.rand(NUM_IMAGES, channels, size, size, generator=generator),
    )  # fmt: skip
    for item in exported:
        console.print(f"{item.path}: largest difference of a feature {item.max_difference:.1e}")


def check(types: Any) -> list[str]:
    """The types, known and with their packages installed.

    Raises:
        UserError: One is not, or there is none.
    """
    try:
        check_types(types)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not types:
        raise UserError("types=[]: name at least one, such as types=[torchscript]")
    return list(types)


def classes_of(run: Path) -> list[str]:
    """The class names that a pretraining left beside its encoder; none for an encoder alone."""
    file = run / "data" / "classes.txt"
    return read_text(file).split("\n")[:-1] if file.is_file() else []


if __name__ == "__main__":
    launch("export", main)
