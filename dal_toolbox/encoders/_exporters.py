"""The formats of deployed models: how each is written, and loaded to be checked."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from dal_toolbox.errors import UserError

Model = Callable[[Tensor], Tensor]
ONNX = ("onnx", "onnxscript", "onnxruntime")


class MissingPackage(UserError, ImportError):
    """An optional package that a format needs."""


@dataclass(frozen=True)
class Exporter:
    """A format.

    Attributes:
        file: Name of the file.
        usage: How it is loaded and called, where only this format's library is installed.
        write: Writes a model; the images show shape and type.
        load: Reads the file as a function of images.
        packages: Optional packages that it needs.
    """

    file: str
    usage: str
    write: Callable[[nn.Module, Tensor, Path], None]
    load: Callable[[Path], Model]
    packages: tuple[str, ...] = ()


def write_torchscript(model: nn.Module, images: Tensor, path: Path) -> None:
    """Traces the model; the trace holds for any number of images, which is checked afterwards."""
    with quiet(), torch.no_grad():
        torch.jit.save(torch.jit.trace(model, images, check_trace=False), path)


def load_torchscript(path: Path) -> Model:
    """The model of :func:`write_torchscript`."""
    with quiet():
        return torch.jit.load(path).eval()


def write_torch_export(model: nn.Module, images: Tensor, path: Path) -> None:
    """``torch.export`` with a batch dimension of any size."""
    with quiet():
        torch.export.save(_program(model, images), path)


def load_torch_export(path: Path) -> Model:
    """The model of :func:`write_torch_export`."""
    with quiet():
        return torch.export.load(path).module()


def write_onnx(model: nn.Module, images: Tensor, path: Path) -> None:
    """ONNX with a batch dimension of any size, weights included."""
    for package in ONNX:
        _require(package)
    with quiet():
        program = torch.onnx.export(
            _program(model, images),
            input_names=["images"],
            output_names=["features"],
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path))


def load_onnx(path: Path) -> Model:
    """The model of :func:`write_onnx`, on the CPU."""
    runtime = _require("onnxruntime")
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])

    return run


EXPORTERS = {
    "torchscript": Exporter(
        "model.pt", 'torch.jit.load("{}")(images)', write_torchscript, load_torchscript
    ),
    "onnx": Exporter(
        "model.onnx",
        'onnxruntime.InferenceSession("{}").run(["features"], {{"images": images}})[0]',
        write_onnx,
        load_onnx,
        ONNX,
    ),
    "torch_export": Exporter(
        "model.pt2",
        'torch.export.load("{}").module()(images)',
        write_torch_export,
        load_torch_export,
    ),
}


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what exporters say about themselves; what is wrong with a file is found by running it."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            # TorchScript still is what many servers load.
            warnings.filterwarnings("ignore", r"`torch\.jit\..*is deprecated", FutureWarning)
            # Sizes that become constants; only that of the batch must not, which is checked.
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            # Of torch's own code.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _program(model: nn.Module, images: Tensor) -> ExportedProgram:
    # At least two images: sizes 0 and 1 would become constants.
    return torch.export.export(model, (images,), dynamic_shapes=({0: Dim("batch", min=1)},))


def _require(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise missing("onnx", package) from error


def missing(type_: str, package: str) -> MissingPackage:
    """The error of a package that a type needs."""
    return MissingPackage(
        f"types={type_}: needs the package {package}: pip install 'dal-toolbox[export]'"
    )
