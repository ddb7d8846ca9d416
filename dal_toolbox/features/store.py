"""Features on disk, found by what they were computed from."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from dal_toolbox.features.features import Features
from dal_toolbox.features.spec import FeatureSpec
from dal_toolbox.io import (
    atomic_directory,
    block_digests,
    file_digest,
    load_array,
    read_json,
    remove_leftovers,
    verify_blocks,
    write_json,
)
from dal_toolbox.progress import log

FILES = ("values.npy", "targets.npy", "names.json")


class FeatureStore:
    """A folder of features: ``<root>/<key>/{values.npy, targets.npy, names.json, manifest.json}``.

    The key is a digest of encoder, images and transform: equal questions find equal answers, whoever
    asked first. An entry appears as a whole. Every byte is compared with the checksums of
    ``manifest.json`` before it is used; an entry that is damaged is named and computed anew.

    Args:
        root: The folder; made when needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def __contains__(self, spec: FeatureSpec) -> bool:
        """Whether the features are there, and every byte is what was written."""
        directory = self.root / spec.key
        return directory.exists() and _damage(directory, spec) is None

    def get(self, spec: FeatureSpec, compute: Callable[[], Features]) -> Features:
        """The features of ``spec``, memory-mapped; computed if they are not there.

        Threads and processes that ask at once compute once: the others wait for the first. Where
        nothing can be written, the features are computed, a warning is logged, and they stay in memory.

        Args:
            spec: What is asked for.
            compute: Computes values, targets and names.
        """
        start, how = time.perf_counter(), "found"
        features = self._open(spec)
        if features is None:
            with self._lock(spec):
                features = self._open(spec)  # another may have been first
                if features is None:
                    self._name_damage(spec)
                    how, features = "computed", self._keep(spec, compute())
        seconds = time.perf_counter() - start
        place = features.directory or "in memory"
        log.info("features of %s %s, %.2f s: %s", spec.split, how, seconds, place)
        return features

    def remove(self, spec: FeatureSpec) -> None:
        """Removes an entry, with its kNN graph, if it is there."""
        shutil.rmtree(self.root / spec.key, ignore_errors=True)

    def _open(self, spec: FeatureSpec) -> Features | None:
        return _load(self.root / spec.key) if spec in self else None

    def _name_damage(self, spec: FeatureSpec) -> None:
        directory = self.root / spec.key
        if directory.exists():
            damage = _damage(directory, spec)
            log.warning("damaged features, computed anew: %s (%s)", directory, damage)

    @contextmanager
    def _lock(self, spec: FeatureSpec) -> Iterator[None]:
        lock = FileLock(self.root / f"{spec.key}.lock")  # freed by the system if its holder dies
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            log.warning("features cannot be kept in %s: %s", self.root, error)
        try:
            yield
        finally:
            lock.release()

    def _keep(self, spec: FeatureSpec, features: Features) -> Features:
        directory = self.root / spec.key
        try:
            remove_leftovers(directory)
            _write(directory, spec, features)
        except OSError as error:
            log.warning("features of %s cannot be kept in %s: %s", spec.split, directory, error)
            return replace(features, key=spec.key)
        return _load(directory)


def _damage(directory: Path, spec: FeatureSpec) -> str | None:
    """What is wrong with an entry, if anything."""
    try:
        manifest = read_json(directory / "manifest.json")
        if manifest["spec"] != asdict(spec):
            return "manifest.json is that of other features"
        changed = [name for name in FILES if not _is_sound(directory / name, manifest)]
    except (KeyError, TypeError, AttributeError):
        return "manifest.json is damaged"
    except (OSError, ValueError) as error:
        return str(error)
    return f"{' and '.join(changed)} is not what was written" if changed else None


def _is_sound(file: Path, manifest: dict[str, Any]) -> bool:
    if "blocks" in manifest:
        return verify_blocks(file, manifest["blocks"][file.name]) is None
    return file_digest(file) == manifest["sha256"][file.name]  # written by earlier versions


def _write(directory: Path, spec: FeatureSpec, features: Features) -> None:
    with atomic_directory(directory) as temporary:
        np.save(temporary / "values.npy", features.values.cpu().numpy())
        np.save(temporary / "targets.npy", features.targets.cpu().numpy())
        write_json(temporary / "names.json", list(features.names))
        manifest = {
            "spec": asdict(spec),
            "shape": list(features.values.shape),
            "blocks": {name: block_digests(temporary / name) for name in FILES},
        }
        write_json(temporary / "manifest.json", manifest)


def _load(directory: Path) -> Features:
    return Features(
        values=load_array(directory / "values.npy"),
        targets=load_array(directory / "targets.npy"),
        names=read_json(directory / "names.json"),
        key=directory.name,
        directory=directory,
    )
