"""Files: whole or not there, UTF-8 whatever the locale, on disk before anything builds on them."""

import hashlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from dal_toolbox.errors import UserError
from dal_toolbox.progress import log

BLOCK_BYTES = 2**20
BLOCKS_AT_ONCE = 32  # read by one thread before it takes others
THREADS = 4  # reading and checking happen without the interpreter's lock
# Names of files may hold bytes that are no UTF-8 (archives from Windows): they survive a round trip.
ERRORS = "surrogateescape"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary name whose file takes the place of ``path`` once the block ends well.

    The file is on disk before it is renamed, and has the mode that the umask gives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with _naming(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # some writers (safetensors) make 0600
            _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A temporary directory that takes the place of ``path`` once the block ends well.

    What a killed process leaves behind is named ``.<name>.<random>`` and never read;
    :func:`remove_leftovers` clears it away.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for entry in [*temporary.rglob("*"), temporary]:
            _sync(entry)
        if path.exists():
            path.rename(path.with_name(f"{temporary.name}.old"))
        temporary.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(path.with_name(f"{temporary.name}.old"), ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Adds the path to errors that do not name one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def remove_leftovers(path: Path) -> None:
    """Removes what killed writers of ``path`` left; only for a caller that no other can join."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file that is whole or not there."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ERRORS)


def read_text(path: Path) -> str:
    """The text of a file; bytes that are no UTF-8 become surrogates, as in names of files."""
    return path.read_text(encoding="utf-8", errors=ERRORS)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file that is whole or not there; numbers that are not finite become null."""
    write_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError(f"{path} is nested too deep") from None


def read_lines(path: Path) -> list[dict]:
    """Records of a file of JSON lines, none where it does not exist.

    An incomplete last line is ignored: its writer was killed.

    Raises:
        UserError: A complete line is no JSON object, or was changed after it was written.
    """
    if not path.exists():
        return []
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        log.warning("%s ends in the middle of a line, which is ignored", path)
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1)]


def append_lines(path: Path, records: list[dict]) -> None:
    """Adds JSON lines, in place of an incomplete last line if there is one, and waits for the disk.

    Each line gets a checksum, ``crc``. Numbers that are not finite become null.
    """
    text = "".join(_line(_finite(record)) for record in records)
    with _naming(path), path.open("ab+") as file:
        file.truncate(_end_of_last_line(path))
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def load_array(path: Path) -> Tensor:
    """The array of a ``.npy`` file, memory-mapped; writing to it never reaches the file.

    Raises:
        OSError: The file is missing.
        ValueError: The file is no array, or shorter than its header says.
    """
    if path.stat().st_size == 0:  # numpy: EOFError
        raise ValueError(f"{path} is empty")
    # Copy-on-write: torch warns of arrays that cannot be written to.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def block_digest(block: bytes | bytearray | memoryview) -> str:
    """CRC-32 of some bytes, as hex digits: finds damage, is no protection against forgery.

    It is three to five times as fast as SHA-256.

    >>> block_digest(b"hello")
    '3610a686'
    """
    return f"{zlib.crc32(block):08x}"


def block_digests(path: Path, block_bytes: int = BLOCK_BYTES) -> list[str]:
    """:func:`block_digest` of each block of a file; the last block may be shorter.

    Kept in a manifest, they let :func:`verify_blocks` find damage before the file is used.

    Raises:
        OSError: The file cannot be read.
    """
    starts = range(0, path.stat().st_size, block_bytes * BLOCKS_AT_ONCE)
    with ThreadPoolExecutor(THREADS) as threads:
        parts = threads.map(partial(_digests_from, path, block_bytes), starts)
        return [digest for part in parts for digest in part]


def verify_blocks(path: Path, digests: Sequence[str], block_bytes: int = BLOCK_BYTES) -> int | None:
    """The first block of a file that is damaged, missing or too many; None if all are sound.

    Args:
        path: The file.
        digests: What :func:`block_digests` gave when it was written.
        block_bytes: Size of a block, as it was then.

    Raises:
        OSError: The file cannot be read.
    """
    found = block_digests(path, block_bytes)
    if found == list(digests):
        return None
    pairs = enumerate(zip(found, digests, strict=False))
    shorter = min(len(found), len(digests))
    return next((number for number, (new, old) in pairs if new != old), shorter)


def _digests_from(path: Path, block_bytes: int, start: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(start)
        blocks = iter(partial(file.read, block_bytes), b"")
        return [block_digest(block) for block in islice(blocks, BLOCKS_AT_ONCE)]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _end_of_last_line(path: Path) -> int:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps({**record, "crc": _crc(record)}, allow_nan=False) + "\n"


def _crc(record: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(record).encode()):08x}"


def _parse(line: bytes, path: Path, number: int) -> dict:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number} is no JSON object; repair or remove that line")
    crc = record.pop("crc", None)  # none: the line was written by hand
    if crc is not None and crc != _crc(record):
        raise UserError(
            f"{path}, line {number} was changed after it was written; put it back, or, if it is "
            f"right, remove its crc"
        )
    return record
