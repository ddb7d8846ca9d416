"""Encoders on disk: weights as safetensors, everything else in a JSON file beside them."""

import json
from pathlib import Path
from typing import Any

from dal_toolbox.encoders.base import Encoder, create_encoder
from dal_toolbox.errors import UserError


def save_encoder(encoder: Encoder, path: Path, **facts: object) -> None:
    """Writes ``path`` (``.safetensors``) and ``path`` with the suffix ``.json``.

    Args:
        encoder: An encoder made by :func:`create_encoder`.
        path: Where the weights go.
        facts: What else a user of the weights must know: mean, std, dataset, method …
    """
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()
    }
    origin = {"started_from": encoder.origin} if encoder.origin is not None else {}
    facts = {"encoder": encoder.recipe, "num_features": encoder.num_features, **origin, **facts}
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(weights, temporary)
    temporary.replace(path)
    temporary.write_text(json.dumps(facts, indent=2) + "\n")
    temporary.replace(path.with_suffix(".json"))


def load_encoder(path: Path) -> tuple[Encoder, dict[str, Any]]:
    """The encoder of :func:`save_encoder`, in evaluation mode, and its facts.

    Args:
        path: The ``.safetensors`` file, or the run folder that holds ``encoder.safetensors``.

    Raises:
        UserError: A file is missing, or the weights do not fit the architecture.
    """
    from safetensors.torch import load_file

    path = path / "encoder.safetensors" if path.is_dir() else path
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise UserError(
                f"no encoder at {path}: {file.name} is missing; give the run folder of "
                f"experiments/ssl/main.py or its encoder.safetensors{_way_out(path)}"
            )
    facts = json.loads(path.with_suffix(".json").read_text())
    encoder = create_encoder(**{**facts["encoder"], **_no_download(facts["encoder"])})
    encoder.recipe = facts["encoder"]
    try:
        encoder.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UserError(f"{path} does not fit {facts['encoder']['name']}: {error}") from error
    return encoder.eval(), facts


def _way_out(path: Path) -> str:
    """Weights from elsewhere come without the name of their network."""
    if not path.is_file():
        return ""
    return f"; weights from elsewhere: encoder=<name> encoder.checkpoint={path}"


def _no_download(recipe: dict[str, Any]) -> dict[str, Any]:
    # The weights come from the file: nothing has to be fetched.
    return {"pretrained": False} if "pretrained" in recipe else {}
