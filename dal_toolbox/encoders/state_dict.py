"""Weights from elsewhere: a file of another project, of timm, of torchvision, or of our own pretraining."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from dal_toolbox.encoders._matching import Match, find_matches
from dal_toolbox.encoders._weight_files import read_tensors
from dal_toolbox.encoders.base import Encoder
from dal_toolbox.errors import UserError, printable
from dal_toolbox.progress import log

COUNTER = (
    "num_batches_tracked"  # steps of a BatchNorm; old files lack it, and nothing depends on it
)
STEMS = {(7, 3): "7x7: choose stem=imagenet", (3, 7): "3x3: choose stem=small"}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What was loaded from a file into an encoder.

    Attributes:
        prefix: What stands before the encoder's names in the file.
        spelling: How the file names the tensors.
        matched: Number of tensors of equal name and shape.
        total: Number of tensors of the encoder.
        missing: Names of the encoder that are not in the file.
        mismatched: Name of the encoder, shape in the file, shape wanted.
        resized: Position embeddings that were interpolated; they count as matched.
        unused: Names of the file that have no place in the encoder, such as a classifier's.
        others: Prefixes of further copies of the encoder in the file.
    """

    prefix: str
    spelling: str
    matched: int
    total: int
    missing: tuple[str, ...]
    mismatched: tuple[tuple[str, Shape, Shape], ...]
    resized: tuple[str, ...]
    unused: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the encoder was found."""
        return self.matched == self.total

    def line(self, name: str) -> str:
        """One line for the log."""
        parts = [
            f"matched {self.matched} of {self.total} tensors of {name} (prefix '{self.prefix}')",
            f"{len(self.unused)} in the file not used{_some(self.unused)}",
            f"{len(self.missing)} missing{_some(self.missing)}",
        ]
        if self.mismatched:
            parts.append(f"{len(self.mismatched)} of another shape{_shapes(self.mismatched)}")
        if self.resized:
            parts.append(f"interpolated to the image size: {', '.join(self.resized)}")
        if self.others:
            parts.append(f"also there: prefix {', '.join(map(repr, self.others))}")
        return "; ".join(parts)


def load_weights(
    encoder: Encoder, path: Path | str, *, prefix: str = "auto", strict: bool = True
) -> Report:
    """Loads the weights of a file into an encoder, in place, and logs in one line what fitted.

    Nested dicts are followed, and the names may stand behind any prefix (``module.``, ``backbone.``,
    ``state_dict.model.encoder_q.`` …): the one that fits the most tensors by name and shape is
    taken. Position embeddings of another image size are interpolated.

    Args:
        encoder: The encoder; unchanged if an error is raised.
        path: ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors``; a checkpoint of our own pretraining, too.
        prefix: What stands before the names in the file, dots included; ``auto`` finds it.
        strict: Whether all tensors of the encoder must be found.

    Raises:
        UserError: The file cannot be read, or too few of its tensors fit.
    """
    path = Path(path)
    name = str(getattr(encoder, "recipe", {}).get("name", type(encoder).__name__))
    network = _network(encoder)
    wanted, tensors = dict(network.state_dict()), read_tensors(path)
    matches = find_matches(wanted, tensors, prefix)
    if not matches:
        raise UserError(_nothing_fits(path, name, wanted, tensors, prefix))
    values = {ours: tensors[theirs] for ours, theirs in matches[0].names.items()}
    _check_numbers(path, name, wanted, values)
    resized = _resize_positions(network, wanted, values)
    report = _report(wanted, values, tensors, matches, resized)
    if not report.matched or (strict and not report.complete):
        raise UserError(_too_few(path, name, report))
    fitting = {key: value for key, value in values.items() if value.shape == wanted[key].shape}
    network.load_state_dict(fitting, strict=False)
    log.info("%s: %s", printable(path.name), printable(report.line(name)))
    return report


def _check_numbers(
    path: Path, name: str, wanted: Mapping[str, Tensor], values: Mapping[str, Tensor]
) -> None:
    """Weights are finite, and no codes of a quantized network."""
    for key, value in values.items():
        if not wanted[key].is_floating_point() or value.shape != wanted[key].shape:
            continue
        if not value.is_floating_point():
            raise UserError(
                f"{path} does not fit {name}: {key} holds {value.dtype}, where real numbers are "
                "wanted; give the weights before they were quantized"
            )
        if not bool(value.float().isfinite().all()):
            raise UserError(
                f"{path} does not fit {name}: {key} holds NaN or infinity; a training that "
                "diverged, or a damaged file"
            )


def _network(encoder: Encoder) -> nn.Module:
    """Where the names begin: a wrapped network of timm has ``model.`` before them."""
    wraps = [name for name, _ in encoder.named_children()] == ["model"]
    return encoder.get_submodule("model") if wraps else encoder


def _resize_positions(
    network: nn.Module, wanted: Mapping[str, Tensor], values: dict[str, Tensor]
) -> tuple[str, ...]:
    """Interpolates the position embeddings of a vision transformer that was made for another size."""
    key = "pos_embed"
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is None or key not in wanted or key not in values:
        return ()
    old, new = values[key], wanted[key]
    if old.shape == new.shape or old.ndim != 3 or new.ndim != 3 or old.shape[2] != new.shape[2]:
        return ()
    tokens = new.shape[1] - grid[0] * grid[1]  # of class and registers
    side = round(max(0, old.shape[1] - tokens) ** 0.5)
    if side < 1 or side * side + tokens != old.shape[1]:
        return ()
    from timm.layers.pos_embed import resample_abs_pos_embed

    values[key] = resample_abs_pos_embed(old, list(grid), num_prefix_tokens=tokens)
    return (key,)


def _report(
    wanted: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    matches: list[Match],
    resized: tuple[str, ...],
) -> Report:
    best, *rest = matches
    copies = [match for match in rest if match.fitting == best.fitting]
    used = {name for match in [best, *copies] for name in match.names.values()}
    counted = [key for key in wanted if key in values or not key.endswith(COUNTER)]
    differing = [key for key in values if values[key].shape != wanted[key].shape]
    return Report(
        prefix=best.prefix,
        spelling=best.spelling,
        matched=len(values) - len(differing),
        total=len(counted),
        missing=tuple(key for key in counted if key not in values),
        mismatched=tuple(
            (key, tuple(values[key].shape), tuple(wanted[key].shape)) for key in differing
        ),
        resized=resized,
        unused=tuple(key for key in tensors if key not in used),
        others=tuple(match.prefix for match in copies),
    )


def _too_few(path: Path, name: str, report: Report) -> str:
    reasons = [
        f"of another shape{_shapes(report.mismatched)}" if report.mismatched else "",
        f"missing{_some(report.missing)}" if report.missing else "",
        _stem(report) or "choose the encoder and the sizes that the file was made with",
    ]
    return (
        f"{path} does not fit {name}: matched {report.matched} of {report.total} tensors "
        f"(prefix '{report.prefix}'); {'; '.join(filter(None, reasons))}"
    )


def _stem(report: Report) -> str:
    """The way out where two ResNets differ in their first convolution alone."""
    if report.missing or [key for key, _, _ in report.mismatched] != ["conv1.weight"]:
        return ""
    _, there, here = report.mismatched[0]
    hint = STEMS.get((there[-1], here[-1]))
    return f"the first convolution in the file is {hint}" if hint else ""


def _nothing_fits(
    path: Path, name: str, wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str
) -> str:
    behind = "" if prefix == "auto" else f" behind prefix={prefix}"
    return (
        f"{path} does not fit {name}: none of its {len(tensors)} tensors has a name of the "
        f"encoder{behind}; it holds{_some(tuple(tensors))}; wanted{_some(tuple(wanted))}; "
        "choose the encoder that the file was made with"
    )


def _some(names: tuple[str, ...], most: int = 4) -> str:
    if not names:
        return ""
    return f": {', '.join(names[:most])}{', …' if len(names) > most else ''}"


def _shapes(mismatched: tuple[tuple[str, Shape, Shape], ...]) -> str:
    lines = [f"{key} {there} where {here} is wanted" for key, there, here in mismatched]
    return _some(tuple(lines), most=3)
