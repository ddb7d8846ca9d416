"""A run that waits for a person: what to label, and where to write it."""

from pathlib import Path
from typing import Any

import numpy as np

from dal_toolbox.active_learning.journal import SET_ASIDE, Journal
from dal_toolbox.active_learning.oracles.file import SKIP, FileOracle, LabelsWanted
from dal_toolbox.analysis.sheet import write_sheet
from dal_toolbox.datasets import Images
from dal_toolbox.datasets.names import as_name
from dal_toolbox.progress import log

SHOWN = 200  # images on a contact sheet


def locate(config: dict[str, Any], name: str) -> Path | None:
    """The path of an image of a data set that lies in a folder."""
    root = (config["dataset"] or {}).get("root")
    path = Path(root).expanduser() / as_name(name) if root else None
    return path.resolve() if path is not None and path.exists() else None


def wait(oracle: FileOracle, journal: Journal, wanted: LabelsWanted, images: Images | None) -> None:
    """Writes the table and the contact sheet of the items that are asked for, and says what to do."""
    asked = journal.asked[-1]
    classes = journal.classes or []
    answered = {index: journal.labels[index] for index in asked if index in journal.labels}
    oracle.write(
        asked,
        {i: SKIP if label == SET_ASIDE else classes[label] for i, label in answered.items()},
    )
    log.info(
        "%d of %d labels are wanted in %s: fill in the column label (a new name is a new class, ? sets "
        "an item aside; a further line for an earlier item corrects it) and run the same command again",
        len(wanted.indices),
        len(asked),
        wanted.file,
    )
    if images is not None:
        sheet = wanted.file.with_suffix(".png")
        shown = np.array(asked[:SHOWN], dtype=np.int64)
        write_sheet(images.batch(shown), [images.names[i] for i in shown.tolist()], sheet)
        log.info("the images: %s", sheet)
    if classes:
        log.info("classes so far: %s", ", ".join(classes[:30]))
