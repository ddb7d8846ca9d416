"""Downloads that go on where they broke off."""

import errno
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from rich.progress import Progress

from dal_toolbox.progress import log, progress_bar

TIMEOUT = 10.0  # seconds without a byte
BLOCK = 2**20
NETWORK_ERRORS = (OSError, http.client.HTTPException)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


def download(url: str, part: Path) -> None:
    """Downloads to ``part``, going on where it ends; tries again as long as that brings bytes.

    Raises:
        OSError: The server cannot be reached, or nothing can be written.
        http.client.HTTPException: The server breaks off again and again.
    """
    with progress_bar() as progress:
        while True:
            before = _size(part)
            try:
                return _continue(url, part, progress)
            except NETWORK_ERRORS as error:
                final = isinstance(error, urllib.error.HTTPError) or is_disk_error(error)
                if final or _size(part) <= before:
                    raise
                log.warning("download of %s broke off (%s); going on", url, error)


def is_disk_error(error: Exception) -> bool:
    """Whether writing failed rather than the network."""
    return isinstance(error, OSError) and error.errno in DISK_ERRORS


def reason(url: str, error: Exception) -> str:
    """Why ``url`` could not be brought to disk, in a few words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, OSError) and (cause.filename or is_disk_error(cause)):
        return f"cannot write {cause.filename or 'there'}: {cause.strerror}"
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"downloading {url} failed: {text or type(error).__name__}"


def _continue(url: str, part: Path, progress: Progress) -> None:
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is left to load; the checksum tells if it is right
        raise
    with response, part.open("ab") as file:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.truncate(start := 0)  # the server sends everything again
        total = start + int(response.headers.get("Content-Length", 0))
        task = progress.add_task(
            f"Downloading {part.stem} (MiB)", total=total / BLOCK, completed=start // BLOCK, note=""
        )
        while block := response.read(BLOCK):
            file.write(block)
            progress.advance(task, len(block) / BLOCK)
    if _size(part) < total:
        raise http.client.IncompleteRead(b"", total - _size(part))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
