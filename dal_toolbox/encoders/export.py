"""Encoders for production: files that run without this package."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dal_toolbox.arguments import one_of
from dal_toolbox.encoders._exporters import EXPORTERS, MissingPackage, missing
from dal_toolbox.encoders.base import Encoder
from dal_toolbox.errors import UserError
from dal_toolbox.io import write_json
from dal_toolbox.progress import log

TOLERANCE = 1e-4  # of the largest feature, where that exceeds 1
BATCHES = (1, 8)  # sizes with which a file is compared with its encoder
PACKAGES = ("torch", "timm", "onnx", "onnxscript", "onnxruntime")


class ExportFailed(UserError):
    """A type that could not be exported, or whose features differ; the others are written."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, loaded again and compared with its encoder.

    Attributes:
        type: ``torchscript``, ``onnx`` or ``torch_export``.
        path: The file.
        max_difference: Largest absolute difference of a feature.
    """

    type: str
    path: Path
    max_difference: float


class DeployedEncoder(nn.Module):
    """Normalization and encoder in one: images in [0, 1], (b, c, h, w) -> features (b, d)."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], (b, c, h, w) -> (b, d)."""
        return self.encoder((images - self.mean) / self.std)


def export_encoder(
    encoder: Encoder,
    folder: Path,
    *,
    types: Sequence[str] = ("torchscript", "onnx", "torch_export"),
    facts: Mapping[str, Any],
    batch: Tensor,
) -> list[Exported]:
    """Writes ``folder/model.{pt,onnx,pt2}`` and ``folder/model.json``, and checks every file.

    The models take float32 images in [0, 1] of the encoder's size, any number of them, and
    normalize them. Each file is loaded again and compared with the encoder on 1 and on 8 images.

    Args:
        encoder: An encoder of :func:`dal_toolbox.encoders.create_encoder`; unchanged.
        folder: Where the files go: ``<run folder>/deployment_model``.
        types: ``torchscript`` (model.pt), ``onnx`` (model.onnx), ``torch_export`` (model.pt2).
        facts: What :func:`dal_toolbox.encoders.save_encoder` was given: ``mean`` and ``std`` are
            needed; ``classes`` and others are written down.
        batch: Real images, uint8 or float in [0, 1]. Shape: (b, c, h, w).

    Raises:
        UserError: A type, the facts or the images are not what they should be.
        ExportFailed: A type failed, or its features differ by more than 1e-4 (relative to the
            largest feature, if that exceeds 1). The files that could be written are kept.
    """
    _check(encoder, types, facts, batch)
    images = _images(batch)
    model = DeployedEncoder(_on_cpu(encoder), facts["mean"], facts["std"]).eval()
    with torch.no_grad():
        expected = [model(images[:size]) for size in BATCHES]
    tolerance = TOLERANCE * max(1.0, *(float(values.abs().max()) for values in expected))
    folder.mkdir(parents=True, exist_ok=True)
    exported, failures = [], []
    for type_ in types:
        path = folder / EXPORTERS[type_].file
        path.unlink(missing_ok=True)  # of an earlier export
        try:
            difference = _export(type_, model, path, images, expected)
        except MissingPackage as error:
            failures.append(str(error))
        except Exception as error:  # exporters raise whatever a model makes them meet
            failures.append(f"{type_} cannot export {_name(encoder)}: {_first_line(error)}")
        else:
            exported.append(Exported(type_, path, difference))
            log.info("exported %s: largest difference of a feature %.1e", path, difference)
            if not difference <= tolerance:
                failures.append(
                    f"{path} differs from {_name(encoder)} by {difference:.1e}, more than "
                    f"{tolerance:.0e}: do not use it"
                )
    write_json(folder / "model.json", _description(encoder, facts, exported, tolerance))
    if failures:
        raise ExportFailed("; ".join(failures))
    return exported


def check_types(types: Sequence[str]) -> None:
    """Checks that every type is known and that the packages which it needs are installed.

    Raises:
        ValueError: A type is unknown.
        MissingPackage: A package is not installed.
    """
    _check_names(types)
    for type_ in types:
        for package in EXPORTERS[type_].packages:
            if find_spec(package) is None:
                raise missing(type_, package)


def _check_names(types: Sequence[str]) -> None:
    if isinstance(types, str) or not isinstance(types, Sequence):
        raise ValueError(f"types={types!r}: must be a list of {', '.join(EXPORTERS)}")
    for type_ in types:
        one_of(EXPORTERS, types=type_)


def _export(
    type_: str, model: nn.Module, path: Path, images: Tensor, expected: Sequence[Tensor]
) -> float:
    """Writes the file, loads it again; the largest difference on batches of all sizes."""
    exporter = EXPORTERS[type_]
    temporary = path.with_name(f".tmp.{path.name}")  # the suffix tells some loaders the format
    try:
        exporter.write(model, images[:2], temporary)
        run = exporter.load(temporary)
        differences = [(run(images[: len(y)]) - y).abs().max() for y in expected]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return float(torch.stack(differences).max())


def _on_cpu(encoder: Encoder) -> nn.Module:
    """A copy in float32 with plain memory format, in evaluation mode."""
    copy = deepcopy(encoder).to("cpu", torch.float32).eval().requires_grad_(False)
    return copy.to(memory_format=torch.contiguous_format)


def _images(batch: Tensor) -> Tensor:
    """As many as the comparison needs, in [0, 1]; repeated if there are fewer."""
    images = batch.cpu().float() / (255 if batch.dtype == torch.uint8 else 1)
    return images[torch.arange(max(BATCHES)) % len(images)].contiguous()


def _description(
    encoder: Encoder, facts: Mapping[str, Any], exported: Sequence[Exported], tolerance: float
) -> dict[str, Any]:
    recipe = encoder.recipe
    size = recipe["image_size"]
    return {
        "input": {
            "name": "images",
            "shape": ["batch", recipe["in_channels"], size, size],
            "dtype": "float32",
            "range": [0, 1],
            "normalization": "inside the model: give images in [0, 1] (uint8 / 255)",
            "mean": list(facts["mean"]),
            "std": list(facts["std"]),
        },
        "output": {"name": "features", "shape": ["batch", encoder.num_features]},
        "num_features": encoder.num_features,
        "encoder": recipe,
        **{key: value for key, value in facts.items() if key not in ("encoder", "mean", "std")},
        "files": {
            item.type: {
                **asdict(item),
                "path": item.path.name,
                "load": EXPORTERS[item.type].usage.format(item.path.name),
            }
            for item in exported
        },
        "tolerance": tolerance,
        "versions": {name: _version(name) for name in PACKAGES if _version(name)},
    }


def _check(encoder: Encoder, types: Sequence[str], facts: Mapping[str, Any], batch: Tensor) -> None:
    _check_names(types)
    channels, size = encoder.recipe["in_channels"], encoder.recipe["image_size"]
    for key in ("mean", "std"):
        if len(facts.get(key) or ()) != channels:
            raise UserError(
                f"export needs the {key} of {channels} channels that the encoder was trained with, "
                f"not {facts.get(key)}; it stands in the encoder's JSON file"
            )
    if batch.ndim != 4 or not len(batch) or tuple(batch.shape[1:]) != (channels, size, size):
        raise UserError(
            f"export needs images of shape (b, {channels}, {size}, {size}), not {tuple(batch.shape)}"
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _name(encoder: Encoder) -> str:
    return str(encoder.recipe.get("model", encoder.recipe["name"]))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
