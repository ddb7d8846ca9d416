"""Features on disk, found by what they were computed from."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock

from dal_toolbox.features.features import Features
from dal_toolbox.features.spec import FeatureSpec
from dal_toolbox.io import atomic_directory, file_digest, load_array, remove_leftovers
from dal_toolbox.progress import log

FILES = ("values.npy", "targets.npy", "names.json")


class FeatureStore:
    """A folder of features: ``<root>/<key>/{values.npy, targets.npy, names.json, manifest.json}``.

    The key is a digest of encoder, images and transform: equal questions find equal answers, whoever
    asked first. An entry appears as a whole; one whose files miss or have another size than
    ``manifest.json`` says is computed anew.

    Args:
        root: The folder; made when needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def __contains__(self, spec: FeatureSpec) -> bool:
        directory = self.root / spec.key
        return directory.exists() and _damage(directory) is None

    def get(self, spec: FeatureSpec, compute: Callable[[], Features]) -> Features:
        """The features of ``spec``, memory-mapped; computed if they are not there.

        Threads and processes that ask at once compute once: the others wait for the first.

        Args:
            spec: What is asked for.
            compute: Computes values, targets and names.
        """
        directory, start = self.root / spec.key, time.perf_counter()
        if spec not in self:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f"{spec.key}.lock"):  # freed if its holder dies
                if spec not in self:  # another may have been first
                    _repair(directory)
                    _write(directory, spec, compute())
                    seconds = time.perf_counter() - start
                    log.info("features of %s computed, %.1f s: %s", spec.split, seconds, directory)
                    return _load(directory)
        features = _load(directory)
        seconds = time.perf_counter() - start
        log.info("features of %s found, %.2f s: %s", spec.split, seconds, directory)
        return features

    def verify(self, spec: FeatureSpec) -> bool:
        """Whether every byte of an entry is what was written."""
        if spec not in self:
            return False
        directory = self.root / spec.key
        manifest = json.loads((directory / "manifest.json").read_text())
        return all(file_digest(directory / name) == manifest["sha256"][name] for name in FILES)

    def remove(self, spec: FeatureSpec) -> None:
        """Removes an entry, with its kNN graph, if it is there."""
        shutil.rmtree(self.root / spec.key, ignore_errors=True)


def _damage(directory: Path) -> str | None:
    """What is wrong with an entry, if anything."""
    try:
        sizes = json.loads((directory / "manifest.json").read_text())["bytes"]
        for name in FILES:
            size = (directory / name).stat().st_size
            if size != sizes[name]:
                return f"{name} has {size} bytes instead of {sizes[name]}"
        load_array(directory / "values.npy")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _repair(directory: Path) -> None:
    remove_leftovers(directory)
    if directory.exists():
        log.warning("damaged features, computed anew: %s (%s)", directory, _damage(directory))


def _write(directory: Path, spec: FeatureSpec, features: Features) -> None:
    with atomic_directory(directory) as temporary:
        np.save(temporary / "values.npy", features.values.cpu().numpy())
        np.save(temporary / "targets.npy", features.targets.cpu().numpy())
        (temporary / "names.json").write_text(json.dumps(list(features.names)))
        manifest = {
            "spec": asdict(spec),
            "shape": list(features.values.shape),
            "bytes": {name: (temporary / name).stat().st_size for name in FILES},
            "sha256": {name: file_digest(temporary / name) for name in FILES},
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _load(directory: Path) -> Features:
    return Features(
        values=load_array(directory / "values.npy"),
        targets=load_array(directory / "targets.npy"),
        names=json.loads((directory / "names.json").read_text()),
        key=directory.name,
        directory=directory,
    )
