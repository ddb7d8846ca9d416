"""Official archives: found, or downloaded, checked and unpacked once."""

import hashlib
import http.client
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from rich.progress import Progress

from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log, progress_bar

TIMEOUT = 10.0  # seconds without a byte
BLOCK = 2**20
NETWORK_ERRORS = (OSError, http.client.HTTPException)


class BadArchive(UserError, ValueError):
    """A file that is not the official archive."""


@dataclass(frozen=True)
class Archive:
    """Where a dataset comes from.

    Args:
        dataset: Its name, for messages.
        url: Of the tar file; the last part is its file name.
        md5: Of the tar file, as its authors publish it.
        folder: The folder inside.
    """

    dataset: str
    url: str
    md5: str
    folder: str

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def fetch(archive: Archive, dataset_path: Path, *, download: bool) -> Path:
    """The unpacked folder of an archive; unpacks or downloads it where it is missing.

    Args:
        archive: What is wanted.
        dataset_path: Where the folder or the archive lies, or shall lie.
        download: Whether the network may be used.

    Raises:
        DatasetNotFound: It is not there and cannot be downloaded.
        BadArchive: The tar file is not the official one.
    """
    folder = dataset_path / archive.folder
    if folder.is_dir():
        return folder
    file = dataset_path / archive.filename
    if not file.exists() and not download:
        raise _not_found(archive, dataset_path, "dataset.download=false")
    try:
        dataset_path.mkdir(parents=True, exist_ok=True)
        with FileLock(dataset_path / f".{archive.folder}.lock"):
            if not folder.is_dir():
                _provide(archive, file, folder)
    except NETWORK_ERRORS as error:
        raise _not_found(archive, dataset_path, _reason(archive, error)) from None
    return folder


def _provide(archive: Archive, file: Path, folder: Path) -> None:
    if not file.exists():
        part = file.with_name(f"{file.name}.part")
        _download(archive.url, part)
        _verify(archive, part)
        part.replace(file)
    else:
        _verify(archive, file)
    _unpack(file, folder)


def _download(url: str, part: Path) -> None:
    """Downloads to ``part``, going on where it ends; tries again as long as that brings bytes."""
    with progress_bar() as progress:
        while True:
            before = _size(part)
            try:
                return _continue(url, part, progress)
            except NETWORK_ERRORS as error:
                if isinstance(error, urllib.error.HTTPError) or _size(part) <= before:
                    raise
                log.warning("download of %s broke off (%s); going on", url, error)


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


def _verify(archive: Archive, file: Path) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if found == archive.md5:
        return
    if file.suffix == ".part":
        file.unlink()
        raise BadArchive(
            f"what {archive.url} sent has MD5 {found} instead of {archive.md5}; it was deleted: "
            f"start again, or put the official {archive.filename} into {file.parent}"
        )
    raise BadArchive(f"{file} has MD5 {found} instead of {archive.md5}; delete it and start again")


def _unpack(file: Path, folder: Path) -> None:
    """Unpacks beside the goal and renames, so that a half-unpacked folder is never taken."""
    log.info("unpacking %s", file)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        try:
            with tarfile.open(file) as tar:
                tar.extractall(temporary, filter="data")
            (Path(temporary) / folder.name).rename(folder)
        except (tarfile.TarError, EOFError, FileNotFoundError) as error:
            raise BadArchive(f"{file} holds no folder {folder.name}: {error}") from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _reason(archive: Archive, error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError) and reason.filename:
        return f"cannot write {reason.filename}: {reason.strerror}"
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"downloading {archive.url} failed: {text or type(error).__name__}"


def _not_found(archive: Archive, dataset_path: Path, reason: str) -> DatasetNotFound:
    return DatasetNotFound(
        f"{archive.dataset} is not in dataset_path={dataset_path} ({reason}); put "
        f"{archive.filename} or the folder {archive.folder} inside it there, "
        "or choose dataset=digits or dataset=folder dataset.root=<folder of images>"
    )
