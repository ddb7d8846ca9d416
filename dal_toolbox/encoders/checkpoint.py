"""Encoders on disk: weights as safetensors, everything else in a JSON file beside them."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from dal_toolbox.arguments import non_negative, positive
from dal_toolbox.encoders._weight_files import read_safetensors
from dal_toolbox.encoders.base import Encoder, create_encoder
from dal_toolbox.errors import UserError
from dal_toolbox.io import atomic_file, file_digest, read_json, write_json

AGAIN = "put back a copy, or run the command that made it again"


def save_encoder(encoder: Encoder, path: Path, **facts: object) -> None:
    """Writes ``path`` (``.safetensors``) and ``path`` with the suffix ``.json``.

    The JSON file holds checksums of both.

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
    facts["sha256"] = file_digest(path)
    write_json(path.with_suffix(".json"), {**facts, "facts_sha256": _digest(facts)})


def load_encoder(path: Path) -> tuple[Encoder, dict[str, Any]]:
    """The encoder of :func:`save_encoder`, in evaluation mode, and its facts.

    The global generator of torch is left as it was.

    Args:
        path: The ``.safetensors`` file, or the run folder that holds ``encoder.safetensors``.

    Raises:
        UserError: A file is missing or damaged, or the weights do not fit the architecture.
    """
    path = path / "encoder.safetensors" if path.is_dir() else path
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise UserError(
                f"no encoder at {path}: {file.name} is missing; give the run folder of "
                f"experiments/ssl/main.py or its encoder.safetensors{_way_out(path)}"
            )
    facts = _read_facts(path)
    encoder = _build(path.with_suffix(".json"), facts)
    try:
        encoder.load_state_dict(read_safetensors(path))
    except (RuntimeError, ValueError, TypeError) as error:  # names, shapes or types
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not fit {facts['encoder']['name']}: {reason}") from error
    return encoder.eval(), facts


def _read_facts(path: Path) -> dict[str, Any]:
    """The facts beside the weights, which must be those that were written with them."""
    file = path.with_suffix(".json")
    try:
        facts = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error}); {AGAIN}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("encoder"), dict):
        raise UserError(f"{file} is damaged: it does not say what the encoder is; {AGAIN}")
    # Files of earlier versions carry fewer checksums.
    if "facts_sha256" in facts and facts.pop("facts_sha256") != _digest(facts):
        raise UserError(f"{file} is damaged: its facts are not those that were saved; {AGAIN}")
    if "sha256" in facts and facts["sha256"] != file_digest(path):
        raise UserError(f"{path} is damaged: its bytes are not those that were saved; {AGAIN}")
    return facts


def _digest(facts: Mapping[str, Any]) -> str:
    """Checksum of facts as they are read back: numbers that are not finite become null."""
    plain = json.loads(json.dumps(facts), parse_constant=lambda _: None)
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _build(file: Path, facts: Mapping[str, Any]) -> Encoder:
    """The encoder of a recipe, with weights that are drawn without touching the global generator."""
    recipe = facts["encoder"]
    if not isinstance(recipe.get("name"), str) or "checkpoint" in recipe:
        raise UserError(f"{file} is damaged: it does not name an encoder; {AGAIN}")
    # The weights come from the file: nothing has to be fetched.
    options = {**recipe, "pretrained": False} if "pretrained" in recipe else recipe
    try:
        with torch.random.fork_rng(devices=[]):
            encoder = create_encoder(**options)
        _check_facts(facts, encoder)
    except (ValueError, TypeError, UserError) as error:
        raise UserError(f"{file} describes no encoder that can be made: {error}") from error
    encoder.recipe = recipe
    return encoder


def _check_facts(facts: Mapping[str, Any], encoder: Encoder) -> None:
    """Raises an error if features, mean and std are not those of such an encoder."""
    number = facts.get("num_features", encoder.num_features)
    if number != encoder.num_features:
        raise ValueError(f"num_features={number!r}: the encoder has {encoder.num_features}")
    channels: Any = encoder.recipe["in_channels"]
    for key, check in (("mean", non_negative), ("std", positive)):
        values = facts.get(key, [1] * channels)
        if not isinstance(values, list) or len(values) != channels:
            raise ValueError(f"{key}={values!r}: must be a list of {channels} numbers")
        for value in values:
            check(**{key: value})


def _way_out(path: Path) -> str:
    """Weights from elsewhere come without the name of their network."""
    if not path.is_file():
        return ""
    return f"; weights from elsewhere need the name of their network beside checkpoint={path}"
