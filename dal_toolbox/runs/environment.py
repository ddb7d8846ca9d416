"""Where a run happens: versions, code, hardware."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dal_toolbox.io import file_digest

PACKAGES = ("torch", "torchvision", "timm", "lightning", "hydra-core", "scikit-learn", "numpy",
            "faiss-gpu", "faiss-cpu")  # fmt: skip


def environment(plugins: Iterable[str] = ()) -> dict[str, Any]:
    """Versions, git commit, hardware and command of this process.

    Args:
        plugins: Modules and files that the user named; their content is part of the answer.
    """
    import torch

    return {
        "command": [sys.executable, *sys.argv],
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "plugins": {name: _digest(name) for name in plugins},
        "platform": platform.platform(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What of versions and plugins differs between two environments, in words.

    >>> changes({"packages": {"torch": "2.1"}}, {"packages": {"torch": "2.2"}})
    ['torch 2.1 -> 2.2']
    """
    pairs = _parts(old), _parts(new)
    words = []
    for name in sorted({*pairs[0], *pairs[1]}):
        before, after = (part.get(name, "none") for part in pairs)
        if before != after:
            known = name.startswith("plugin ")
            words.append(f"{name} has changed" if known else f"{name} {before} -> {after}")
    return words


def _parts(facts: Mapping[str, Any]) -> dict[str, str]:
    plugins = {f"plugin {name}": digest for name, digest in facts.get("plugins", {}).items()}
    python = {"python": facts["python"]} if "python" in facts else {}
    return {**facts.get("packages", {}), **plugins, **python}


def _digest(plugin: str) -> str | None:
    module = sys.modules.get(plugin)
    file = getattr(module, "__file__", None) or plugin
    return file_digest(Path(file)) if Path(file).is_file() else None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
