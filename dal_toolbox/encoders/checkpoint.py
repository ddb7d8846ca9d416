"""Encoders on disk: weights as safetensors, everything else in a JSON file beside them."""

from pathlib import Path
from typing import Any

from dal_toolbox.encoders.base import Encoder, create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.io import atomic_file, file_digest, read_json, write_json

_AGAIN = "put back a copy, or run the command that made it again"


def save_encoder(encoder: Encoder, path: Path, **facts: object) -> None:
    """Writes ``path`` (``.safetensors``) and ``path`` with the suffix ``.json``.

    Args:
        encoder: An encoder made by :func:`create_encoder`.
        path: Where the weights go.
        facts: What else a user of the weights must know: mean, std, dataset, method …
    """
    from safetensors.torch import save_file

    weights = {
        name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()
    }
    origin = {"started_from": encoder.origin} if encoder.origin is not None else {}
    facts = {"encoder": encoder.recipe, "num_features": encoder.num_features, **origin, **facts}
    with atomic_file(path) as temporary:
        save_file(weights, temporary)
    write_json(path.with_suffix(".json"), {**facts, "sha256": file_digest(path)})


def load_encoder(path: Path) -> tuple[Encoder, dict[str, Any]]:
    """The encoder of :func:`save_encoder`, in evaluation mode, and its facts.

    Args:
        path: The ``.safetensors`` file, or the run folder that holds ``encoder.safetensors``.

    Raises:
        UserError: A file is missing or damaged, or the weights do not fit the architecture.
    """
    from safetensors.torch import load_file

    path = path / "encoder.safetensors" if path.is_dir() else path
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise UserError(
                f"no encoder at {path}: {file.name} is missing; give the run folder of "
                f"experiments/ssl/main.py or its encoder.safetensors{_way_out(path)}"
            )
    facts = _read_facts(path)
    encoder = create_encoder(**{**facts["encoder"], **_no_download(facts["encoder"])})
    encoder.recipe = facts["encoder"]
    try:
        encoder.load_state_dict(load_file(path))
    except Exception as error:  # safetensors has errors of its own
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path} does not fit {facts['encoder']['name']}: {reason}") from error
    return encoder.eval(), facts


def _read_facts(path: Path) -> dict[str, Any]:
    """The facts beside the weights, which must be those that were written with them."""
    file = path.with_suffix(".json")
    try:
        facts = read_json(file)
        name, digest = facts["encoder"]["name"], facts.get("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged ({error}); {_AGAIN}") from error
    if not isinstance(name, str):
        raise UserError(f"{file} is damaged (name of the encoder: {name}); {_AGAIN}")
    if digest is not None and file_digest(path) != digest:
        raise UserError(f"{path} is damaged: its bytes are not those that were saved; {_AGAIN}")
    return facts


def _way_out(path: Path) -> str:
    """Weights from elsewhere come without the name of their network."""
    if not path.is_file():
        return ""
    return f"; weights from elsewhere: encoder=<name> encoder.checkpoint={path}"


def _no_download(recipe: dict[str, Any]) -> dict[str, Any]:
    # The weights come from the file: nothing has to be fetched.
    return {"pretrained": False} if "pretrained" in recipe else {}
