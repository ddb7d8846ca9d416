"""Size, times and content of many files."""

import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from pathlib import Path
from time import perf_counter

import numpy as np

from dal_toolbox.io import atomic_file
from dal_toolbox.progress import log, track

CHUNK = 2000
MANY = 50_000  # files that take long enough for a progress bar
KEPT = 2000  # files from which on digests are kept
SLOW = 50e-6  # seconds per file; a local disk takes some 5, a network disk hundreds
THREADS = 16
SAMPLE_BYTES = 4096  # at the start, in the middle and at the end of a file


def file_stamps(root: Path, names: Sequence[str], *, missing_ok: bool = False) -> np.ndarray:
    """Size in bytes, and times in nanoseconds of the last change of each file and of its entry.

    The former time is copied along with a file and can be set; the latter always tells of a change,
    but is another one on another disk.

    Args:
        root: The folder.
        names: Paths relative to it. Length: n.
        missing_ok: Gives -1 for a file without a status.

    Returns:
        Shape: (n, 3), int64.

    Raises:
        OSError: A file has no status: it is missing, or its folder may not be read.
    """
    look = partial(_stamps, f"{root}/", missing_ok)
    return _in_chunks(look, names, "Looking at files", np.empty((0, 3), np.int64))


def content_digests(
    root: Path, names: Sequence[str], stamps: np.ndarray, cache_dir: Path | None = None
) -> np.ndarray:
    """Digests of up to 12 KiB of each file; 0 where it cannot be read. Shape: (n,), uint64.

    Digests of 2,000 files or more are kept, and read again only where size or times have changed.

    Args:
        root: The folder.
        names: Paths relative to it. Length: n.
        stamps: Those of :func:`file_stamps`. Shape: (n, 3).
        cache_dir: Where digests are kept; None keeps none.
    """
    read = partial(_digests, f"{root}/")
    nothing = np.empty(0, np.uint64)
    if cache_dir is None or len(names) < KEPT:
        return _in_chunks(read, names, "Reading files", nothing)
    file = cache_dir / f"{blake2b(os.fsencode(root.absolute()), digest_size=16).hexdigest()}.npy"
    known_keys, known = _read_cache(file)
    keys = _keys(names, stamps)
    place = np.minimum(np.searchsorted(known_keys, keys), max(len(known_keys) - 1, 0))
    found = known_keys[place] == keys if len(known_keys) else np.zeros(len(keys), dtype=bool)
    digests = np.zeros(len(keys), dtype=np.uint64)
    digests[found] = known[place[found]] if len(known) else 0
    missing = np.flatnonzero(~found)
    if len(missing):
        wanted = [names[row] for row in missing.tolist()]
        digests[missing] = _in_chunks(read, wanted, "Reading files", nothing)
        _write_cache(file, np.append(known_keys, keys), np.append(known, digests))
    return digests


def _in_chunks(
    look: Callable[[Sequence[str]], np.ndarray],
    names: Sequence[str],
    title: str,
    nothing: np.ndarray,
) -> np.ndarray:
    """Threads wait for a slow disk together; on a fast one they would only hinder each other."""
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    started = perf_counter()
    results = [look(chunk) for chunk in chunks[:1]]
    is_slow = perf_counter() - started > SLOW * len(names[:CHUNK])
    with ThreadPoolExecutor(THREADS if is_slow else 1) as threads:
        rest = threads.map(look, chunks[1:])
        results.extend(track(rest, title, len(chunks) - 1) if len(names) > MANY else rest)
    return np.concatenate([nothing, *results])


def _stamps(folder: str, missing_ok: bool, names: Sequence[str]) -> np.ndarray:
    status = [_status(folder + name, missing_ok) for name in names]
    return np.array(status, dtype=np.int64).reshape(-1, 3)


def _status(path: str, missing_ok: bool) -> tuple[int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  twice as fast as Path.stat
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns
    except OSError:
        if not missing_ok:
            raise
        return -1, -1, -1


def _digests(folder: str, names: Sequence[str]) -> np.ndarray:
    return np.frombuffer(b"".join(_digest(folder + name) for name in names), dtype=np.uint64)


def _digest(path: str) -> bytes:
    try:
        # A pipe would wait for its writer otherwise.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            return _sample(descriptor)
        finally:
            os.close(descriptor)
    except OSError:  # decoding will say what is wrong
        return bytes(8)


def _sample(descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return bytes(8)
    if status.st_size <= 3 * SAMPLE_BYTES:
        return blake2b(os.read(descriptor, 3 * SAMPLE_BYTES), digest_size=8).digest()
    last = status.st_size - SAMPLE_BYTES
    digest = blake2b(digest_size=8)
    for start in (0, last // 2, last):
        os.lseek(descriptor, start, os.SEEK_SET)
        digest.update(os.read(descriptor, SAMPLE_BYTES))
    return digest.digest()


def _keys(names: Sequence[str], stamps: np.ndarray) -> np.ndarray:
    """What a kept digest belongs to: name, size and times. Shape: (n,), uint64."""
    facts = zip(map(os.fsencode, names), np.ascontiguousarray(stamps), strict=True)
    digests = (blake2b(name + row.tobytes(), digest_size=8).digest() for name, row in facts)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _read_cache(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ascending keys, and their digests; nothing if there are none, or they are damaged."""
    try:
        kept = np.load(file, allow_pickle=False)
        if kept.dtype == np.uint64 and kept.ndim == 2 and len(kept) == 2:
            return kept[0], kept[1]
    except (OSError, ValueError, EOFError):
        pass
    return np.empty(0, np.uint64), np.empty(0, np.uint64)


def _write_cache(file: Path, keys: np.ndarray, digests: np.ndarray) -> None:
    keys, first = np.unique(keys, return_index=True)
    try:
        with atomic_file(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.stack([keys, digests[first]]))
    except OSError as error:
        log.warning("%s cannot be written (%s): files are read anew", file, error.strerror)
