"""The keys of the mains that belong to no registered part: what each is for, and what it may be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from dal_toolbox.arguments import at_least, non_negative, positive
from dal_toolbox.hyperparameters import check_value, fits

Precision = Literal["auto", "32", "bf16", "16"]


@dataclass(frozen=True)
class Key:
    """What a key is for, and what it may be.

    Args:
        help: One sentence for ``--help``.
        type: Annotation of the values.
        check: Gets the value by the name of the key; raises ValueError where it is out of range.
    """

    help: str
    type: Any
    check: Callable[..., None] | None = None

    def checked(self, name: str, value: Any) -> Any:
        """The value; numbers become strings where a string is meant (a folder named ``2024``).

        Raises:
            ValueError: ``name=value: …`` says what is allowed.
        """
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value) if fits(str(value), self.type) else value
        check_value(name, value, self.type)
        if self.check is not None and value is not None:
            self.check(**{name: value})
        return value


def is_there(**values: str) -> None:
    """Checks that the accelerators of this machine include the one that is asked for."""
    for name, value in values.items():
        found = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not found.get(value, True):
            raise ValueError(
                f"{name}={value}: torch finds none on this machine; choose auto or cpu"
            )


def not_empty(**values: Any) -> None:
    """Checks for strings and lists that are not empty."""
    for name, value in values.items():
        if not value:
            raise ValueError(f"{name}={value!r}: must not be empty")


def makeable(**values: str) -> None:
    """Checks for paths below which a folder can be made."""
    for name, value in values.items():
        not_empty(**{name: value})
        path = Path(value).absolute()
        try:
            above = next(each for each in (path, *path.parents) if each.exists())
        except OSError as error:  # a part of the path is too long, or may not be entered
            raise ValueError(f"{name}={value}: {error.strerror}") from None
        if not above.is_dir():
            raise ValueError(f"{name}={value}: {above} is no folder; choose another path")


def finished_runs(**values: str) -> None:
    """Checks for folders that exist, before an output folder is made in their place."""
    for name, value in values.items():
        if not value or not Path(value).is_dir():
            raise ValueError(
                f"{name}={value}: no finished active-learning run below {value}; there is no such "
                "folder"
            )


def classes(**values: list) -> None:
    """Checks for a selection of classes that is not empty and names none twice."""
    not_empty(**values)
    for name, value in values.items():
        doubled = [each for each in value if value.count(each) > 1]
        if doubled:
            raise ValueError(f"{name}={value}: {doubled[0]} stands there twice")


def counts(**values: list[int]) -> None:
    """Checks for a list of positive integers."""
    not_empty(**values)
    for name, value in values.items():
        for each in value:
            at_least(1, **{name: each})


EVERYWHERE = {
    "plugins": Key("Modules or Python files that register parts of your own.", list[str]),
    "output_dir": Key("Folder of the run.", str, makeable),
}
RUN = {
    **EVERYWHERE,
    "overwrite": Key("Moves an earlier run in output_dir aside and starts anew.", bool),
    "random_seed": Key("Seed of everything that is drawn.", int, partial(at_least, 0)),
    "n_cpus": Key(
        "Processes that decode images, at most one a core; 0 decodes in the main process.",
        int,
        partial(at_least, 0),
    ),
    "dataset_path": Key("Folder where data sets are stored or downloaded to.", str, not_empty),
    "classes": Key(
        "Only these classes, by name or index; null takes all.", list[str | int] | None, classes
    ),
}
FEATURES = {
    **RUN,
    "feature_dir": Key("The feature store, shared by all runs.", str, makeable),
    "encoder_checkpoint": Key(
        "Run folder of experiments/ssl/main.py, or its encoder.safetensors.", str | None, not_empty
    ),
    "batch_size": Key("Images in one forward pass.", int, partial(at_least, 1)),
    "dtype": Key(
        "Type of the stored features; float16 halves them.", Literal["float32", "float16"]
    ),
    "precision": Key("Arithmetic of the encoder; auto follows the hardware.", Precision),
    "accelerator": Key(
        "Where the encoder runs.", Literal["auto", "cpu", "gpu", "cuda", "mps"], is_there
    ),
}
SOURCE = Key(
    "encoder: of encoder_checkpoint or encoder=; raw: the pixels; or a folder or file of features computed "
    "elsewhere (train.npy, train_targets.npy, test.npy …).",
    str,
    not_empty,
)
ON_ERROR = Key("What happens to rows of files with NaN or infinity.", Literal["raise", "skip"])
ACTIVE_LEARNING = {
    **FEATURES,
    "features": SOURCE,
    "features_on_error": ON_ERROR,
    "num_initial": Key("Labels before the first query.", int, partial(at_least, 0)),
    "query_size": Key("Labels bought in each cycle.", int, partial(at_least, 1)),
    "num_cycles": Key("Number of queries.", int, partial(at_least, 0)),
}
EVALUATION = {
    **FEATURES,
    "features": Key(f"{SOURCE.help[:-1]}; untrained: an encoder without training.", str, not_empty),
    "features_on_error": ON_ERROR,
    "compare_untrained": Key("Also evaluates the same encoder before its training.", bool),
    "images_per_class": Key(
        "Numbers of training images of each class, such as [10,50,200]; null takes all.",
        list[int] | None,
        counts,
    ),
    "num_repeats": Key("Draws of each of these numbers.", int, partial(at_least, 1)),
}
EXPORT = {
    "plugins": EVERYWHERE["plugins"],
    "run": Key(
        "Run folder of experiments/ssl/main.py, or its encoder.safetensors.", str, not_empty
    ),
    "types": Key(
        "Formats: torchscript, onnx, torch_export.",
        list[Literal["torchscript", "onnx", "torch_export"]],
        classes,
    ),
}
EXTRACTION = {
    **FEATURES,
    "splits": Key(
        "Splits of the data set: train, val, test, unlabeled; null takes all that it has.",
        list[Literal["train", "val", "test", "unlabeled"]] | None,
        classes,
    ),
    "num_neighbors": Key(
        "Neighbors of the k-NN graph that is computed and cached too; 0: none.",
        int,
        partial(at_least, 0),
    ),
}
REPORT = {
    "runs": Key("Folder; every finished run below it is read.", str, finished_runs),
    **EVERYWHERE,
    "metric": Key(
        "Metric of the curves.", Literal["accuracy", "macro_accuracy", "nll", "brier", "ece"]
    ),
    "baseline": Key("Strategy with which the others are compared, paired by seed.", str, not_empty),
}
Numbers = float | list[float] | list[list[float]] | None
PRETRAINING = {
    **RUN,
    "ssl_val_interval": Key("Epochs between two evaluations.", int, partial(at_least, 1)),
    "color_distortion_strength": Key(
        "Strength s of SimCLR's color jitter: 0.5 for CIFAR, 1 for ImageNet.", float, non_negative
    ),
    "knn.k": Key("Neighbors of the k-NN evaluation; 0 leaves it out.", int, partial(at_least, 0)),
    "knn.temperature": Key("Temperature of the neighbors' votes.", float, positive),
    "residency": Key("Where decoded images live.", Literal["auto", "device", "memory", "disk"]),
    "monitor": Key(
        "Metric that chooses best.ckpt; none: the last epoch.",
        Literal[
            "auto",
            "none",
            "val/loss",
            "val/knn_accuracy",
            "val/linear_accuracy",
            "val/contrastive_top1",
        ],
    ),
    "validation_augmentation": Key(
        "Recipe of the views of val/loss, such as mild; null: as in training.",
        str | None,
        not_empty,
    ),
    "tsne": Key("Held-out images in plots/tsne.png; 0: no picture.", int, partial(at_least, 0)),
    "export.types": Key(
        "Formats of deployment_model/.", list[Literal["torchscript", "onnx", "torch_export"]]
    ),
    "model.encoder": Key("The encoder; the same as encoder=, or a model of timm.", str, not_empty),
    "model.n_epochs": Key("Epochs of the training.", int, partial(at_least, 1)),
    "model.train_batch_size": Key("Images of one step.", int, partial(at_least, 2)),
    "model.accumulate_batches": Key(
        "Batches whose gradients make one step.", int, partial(at_least, 1)
    ),
    "model.predict_batch_size": Key("Images in one forward pass.", int, partial(at_least, 1)),
    "model.augmentation.name": Key("Recipe of the views; auto: the method's own.", str, not_empty),
    **{
        f"model.augmentation.{name}": Key(f"{text}; null: as in the recipe.", Numbers)
        for name, text in {
            "scale": "Range of the area that a crop keeps",
            "flip": "Probability of mirroring",
            "jitter": "Probability of the color jitter",
            "brightness": "Strength of the change of brightness",
            "contrast": "Strength of the change of contrast",
            "saturation": "Strength of the change of saturation",
            "hue": "Strength of the change of hue",
            "grayscale": "Probability of removing the color",
            "blur": "Probability of the blur",
            "solarize": "Probability of inverting bright pixels",
        }.items()
    },
    "le_model.name": Key("Classifier of the linear evaluation.", str, not_empty),
    "le_model.num_epochs": Key("Epochs of the classifier.", int, partial(at_least, 1)),
    "le_model.train_batch_size": Key("Features of one step.", int, partial(at_least, 1)),
    "le_model.val_batch_size": Key("Features in one forward pass.", int, partial(at_least, 1)),
    "le_model.optimizer.base_lr": Key(
        "Learning rate of a batch of 256; grows with the batch.", float, positive
    ),
    "le_model.optimizer.weight_decay": Key("L2 penalty.", float, non_negative),
    "le_model.optimizer.momentum": Key("Momentum of SGD.", float, non_negative),
    "le_model.callback.enabled": Key("Whether there is a linear evaluation.", bool),
    "le_model.callback.interval": Key(
        "Epochs between two linear evaluations.", int, partial(at_least, 1)
    ),
    "trainer.accelerator": Key(
        "Where the training runs.", Literal["auto", "cpu", "gpu", "cuda", "mps"], is_there
    ),
    "trainer.precision": Key("Arithmetic; auto follows the hardware.", Precision),
    "trainer.compile": Key("torch.compile: pays on GPUs and long runs only.", bool),
    "logger.name": Key("A logger beside metrics.csv.", Literal["csv", "tensorboard", "wandb"]),
}


@dataclass(frozen=True)
class Main:
    """What ``--help`` says of a main, and its keys."""

    title: str
    keys: Mapping[str, Key]


MAINS = {
    "ssl": Main("Self-supervised pretraining: images in, an encoder out.", PRETRAINING),
    "features": Main("Feature extraction: an encoder and images in, features out.", EXTRACTION),
    "evaluation": Main("A classifier on frozen features: linear evaluation, transfer.", EVALUATION),
    "active_learning": Main("Active-learning cycles on cached features.", ACTIVE_LEARNING),
    "export": Main("The encoder of a finished pretraining for deployment.", EXPORT),
    "report": Main("Table and learning curves of several active-learning runs.", REPORT),
}
