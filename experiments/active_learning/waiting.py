"""A run that waits for a person: what to label, and where to write it."""

from pathlib import Path
from typing import Any

import numpy as np

from dal_toolbox.active_learning.journal import SET_ASIDE, Journal
from dal_toolbox.active_learning.oracles.file import SKIP, LabelsWanted
from dal_toolbox.analysis.sheet import write_sheet
from dal_toolbox.config import make_dataset
from dal_toolbox.datasets.names import as_name
from dal_toolbox.progress import log
from dal_toolbox.runs import RunFolder

SHOWN = 200  # images on a contact sheet


def locate(config: dict[str, Any], name: str) -> Path | None:
    """The path of an image of a data set that lies in a folder."""
    root = (config["dataset"] or {}).get("root")
    path = Path(root).expanduser() / as_name(name) if root else None
    return path.resolve() if path is not None and path.exists() else None


def wait(
    run: RunFolder, config: dict[str, Any], oracle: Any, journal: Journal, wanted: LabelsWanted
) -> None:
    """Writes the table and the contact sheet of the items that are asked for, and says what to do."""
    asked = journal.asked[-1]
    classes = journal.classes or []
    answered = {index: journal.labels[index] for index in asked if index in journal.labels}
    oracle.write(
        asked,
        {i: SKIP if label == SET_ASIDE else classes[label] for i, label in answered.items()},
    )
    log.info(
        "%d items wait for a label in %s: fill in the column label (a new name is a new class, ? sets "
        "an item aside; a further line for an earlier item corrects it) and run the same command again",
        len(wanted.indices),
        wanted.file,
    )
    if config["features"] in ("encoder", "raw", "untrained"):
        sheet = wanted.file.with_suffix(".png")
        shown = np.array(asked[:SHOWN], dtype=np.int64)
        images = make_dataset(config).train
        write_sheet(images.batch(shown), [images.names[i] for i in shown.tolist()], sheet)
        log.info("the images: %s", sheet)
    if classes:
        log.info("classes so far: %s", ", ".join(classes[:30]))
