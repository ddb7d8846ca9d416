"""Before timm downloads weights: whether there are any, under which license, and within reach."""

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

PERMISSIVE = ("apache-2.0", "mit", "bsd-3-clause")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
WAY_OUT = "use pretrained=false, or weights of your own: checkpoint=<file>"


class PretrainedUnavailable(UserError, ValueError):
    """Pretrained weights that do not exist or cannot be downloaded."""


def pretrained_config(name: str) -> Any:
    """What timm knows about a model and its weights; None where it has none.

    Raises:
        ValueError: The tag after the dot names no weights.
    """
    import timm

    try:
        return timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        model, _, tag = name.partition(".")
        known = ", ".join(_with_weights(f"{model}.*")) or "none"
        raise ValueError(
            f"model={name}: '{model}' of timm has no weights '{tag}'. Known: {known}"
        ) from error


def check_pretrained(name: str) -> None:
    """Logs the license of the weights, or says at once why there will be none.

    Raises:
        PretrainedUnavailable: As :func:`find_pretrained`.
    """
    config = _config_with_weights(name)
    license_ = config.license or "unknown license"
    say = log.info if license_ in PERMISSIVE else log.warning  # it may forbid commercial use
    say("pretrained weights %s.%s (license: %s)", config.architecture, config.tag, license_)
    find_pretrained(name)


def find_pretrained(name: str) -> None:
    """Looks whether published weights are here or can be fetched.

    The client of the hub would repeat its requests for most of a minute without a network.

    Raises:
        PretrainedUnavailable: There are no weights of this name, or no network to fetch them.
    """
    hub = _config_with_weights(name).hf_hub_id
    if hub and not _is_cached(hub) and not _is_reachable():
        raise unavailable(name, "the hub cannot be reached and no earlier download is there")


def _config_with_weights(name: str) -> Any:
    config = pretrained_config(name)
    if config is None or not config.has_weights:
        others = ", ".join(_with_weights(f"{name.partition('.')[0][:9]}*")[:3])
        hint = f" (of its family: {others})" if others else ""
        raise PretrainedUnavailable(
            f"pretrained=true: no pretrained weights for '{name}': timm knows none{hint}; {WAY_OUT}"
        )
    return config


def unavailable(name: str, reason: str) -> PretrainedUnavailable:
    """The error of weights that exist but do not come."""
    return PretrainedUnavailable(
        f"pretrained=true: no pretrained weights for '{name}': {reason}. They are downloaded once, "
        f"with a network; without one, {WAY_OUT}"
    )


def _with_weights(pattern: str) -> list[str]:
    import timm

    return list(timm.list_models(pattern, pretrained=True))


def _is_cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)


def _is_reachable() -> bool:
    """Whether the hub's name resolves; behind a proxy that is not ours to know."""
    from huggingface_hub import constants

    if any(os.environ.get(key) or os.environ.get(key.upper()) for key in PROXIES):
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return not constants.HF_HUB_OFFLINE
