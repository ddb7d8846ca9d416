"""What a pretraining writes beside its checkpoints: splits, pictures, deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dal_toolbox.analysis.dataset import class_table, plot_classes
from dal_toolbox.analysis.embedding import plot_embedding, tsne
from dal_toolbox.arguments import at_least
from dal_toolbox.augment import EvalTransform
from dal_toolbox.datasets import DatasetBundle
from dal_toolbox.datasets.split_files import split_lines
from dal_toolbox.encoders import Encoder
from dal_toolbox.encoders.export import ExportFailed, check_types, export_encoder
from dal_toolbox.errors import printable
from dal_toolbox.features import extract_features
from dal_toolbox.io import write_text
from dal_toolbox.progress import console, log
from dal_toolbox.runs import RunFolder
from dal_toolbox.seeding import generator
from dal_toolbox.ssl.evaluation import Evaluation
from dal_toolbox.ssl.pretrain import PretrainResult

EXPORT_BATCH = 8
ENCODER = ("encoder.safetensors", "encoder.json")
FEWEST = 4  # images of a map


def check(tsne: int, types: list[str]) -> None:
    """Checks what is wanted beside the encoder, before the training.

    Raises:
        ValueError: A number of images or a type that cannot be.
        MissingPackage: A type needs a package that is not installed.
    """
    at_least(0, tsne=tsne)
    if 0 < tsne < FEWEST:
        raise ValueError(f"tsne={tsne}: must be 0 (no map) or at least {FEWEST}")
    check_types(types)


def write_data(run: RunFolder, bundle: DatasetBundle) -> None:
    """The exact split in ``data/``, in the form that ``dataset=folder`` reads; classes as table and plot."""
    folder = run.path / "data"
    folder.mkdir(exist_ok=True)
    for split in ("train", "val", "test", "unlabeled"):
        images = getattr(bundle, split)
        if images is not None:
            write_text(folder / f"{split}.txt", split_lines(images.names))
    write_text(folder / "classes.txt", split_lines(bundle.classes))
    if bundle.skipped:
        lines = (f"{printable(file.name)}\t{printable(file.reason)}\n" for file in bundle.skipped)
        write_text(folder / "skipped.txt", "".join(lines))
    if np.any(bundle.train.targets >= 0):
        console.print(class_table(bundle))
        plot_classes(bundle, run.path / "plots" / "classes.png")


def write_map(
    run: RunFolder, encoder: Encoder, bundle: DatasetBundle, num_images: int, seed: int
) -> None:
    """t-SNE of the features of ``num_images`` held-out images, colored by class."""
    images = bundle.test if bundle.val is None else bundle.val
    if images is None:
        log.warning("plots/tsne.png left out: no held-out images")
        return
    labeled = np.flatnonzero(images.targets >= 0)
    rng = generator(seed, "tsne")
    rows = np.sort(rng.permutation(labeled)[:num_images])
    if len(rows) < FEWEST:
        log.warning("plots/tsne.png left out: %d labeled held-out images", len(rows))
        return
    part = images.subset(rows)
    features = extract_features(
        encoder, part, mean=bundle.mean, std=bundle.std, image_size=bundle.image_size
    )
    split = "test" if bundle.val is None else "val"
    plot_embedding(
        tsne(features.numpy(), rng), part.targets, bundle.classes,
        run.path / "plots" / "tsne.png", f"t-SNE of {len(rows)} {split} images of {bundle.name}",
    )  # fmt: skip


def write_deployment(
    run: RunFolder, encoder: Encoder, bundle: DatasetBundle, types: list[str]
) -> dict[str, float]:
    """``deployment_model/``: the encoder without this package; largest difference of each type."""
    part = bundle.train.batch(np.arange(min(EXPORT_BATCH, len(bundle.train))))
    zeros, ones = (0.0,) * bundle.in_channels, (1.0,) * bundle.in_channels
    exported = export_encoder(
        encoder, run.path / "deployment_model", types=types,
        facts={"mean": bundle.mean, "std": bundle.std, "classes": bundle.classes, "dataset": bundle.name},
        batch=EvalTransform(bundle.image_size, zeros, ones)(part),  # the model normalizes
    )  # fmt: skip
    return {item.type: item.max_difference for item in exported}


def notes(result: PretrainResult, evaluation: Evaluation) -> list[str]:
    """What a reader of the results must know: labels that chose weights, and what is missing."""
    found = []
    if evaluation.labels_used is not None:
        found.append(f"the encoder was chosen by {evaluation.labels_used}")
    if not evaluation.callbacks:
        found.append("nothing was measured but the training itself: no labels, no validation split")
    return found + ([result.lost] if result.lost else [])


@contextmanager
def results_in_any_case(run: RunFolder, results: dict[str, Any]) -> Iterator[None]:
    """Finishes the run, also where its export fails: that can be repeated without a training.

    Raises:
        UserError: The export failed; the message says how to repeat it.
    """
    try:
        yield
    except ExportFailed as error:
        run.finish({**results, "export": None}, files=ENCODER)
        raise ExportFailed(
            f"{error}; everything else is in {run.path}; to export again: python "
            f"experiments/export/main.py run={run.path}"
        ) from error
    run.finish(results, files=ENCODER)
