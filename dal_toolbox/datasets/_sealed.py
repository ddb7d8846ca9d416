"""Facts about a cache, with a checksum: a changed fact is no fact."""

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from dal_toolbox.io import read_json, write_json


def write_sealed(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes facts and their checksum as JSON."""
    write_json(path, {**facts, "checksum": _checksum(facts)})


def read_sealed(path: Path) -> dict[str, Any]:
    """The facts that :func:`write_sealed` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or has no checksum.
    """
    facts = read_json(path)
    if not isinstance(facts, dict) or facts.pop("checksum", None) != _checksum(facts):
        raise ValueError(f"{path} is not what was written")
    return facts


def forget(path: Path) -> None:
    """Removes facts whose cache is damaged, if that is allowed: it is made anew at the next start."""
    with suppress(OSError):
        path.unlink()


def _checksum(facts: Mapping[str, Any]) -> str:
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
