"""Official archives and files: found, or downloaded, checked and unpacked once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from dal_toolbox.datasets import _transfer
from dal_toolbox.datasets._unpack import BadArchive, unpack
from dal_toolbox.datasets.base import DatasetNotFound
from dal_toolbox.errors import UserError
from dal_toolbox.progress import log


@dataclass(frozen=True)
class Archive:
    """A tar or zip archive that a dataset comes in.

    Args:
        dataset: Its name, for messages.
        url: Address of the archive; the last part is its file name.
        md5: Checksum of the archive, as its authors or torchvision publish it.
        folder: The folder inside.
        home: Folder of ``dataset_path`` that it is unpacked in.
        beside: What else is needed there, for messages.
    """

    dataset: str
    url: str
    md5: str
    folder: str
    home: str = ""
    beside: str = ""

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Files:
    """Plain files that a dataset comes in.

    Args:
        dataset: Its name, for messages.
        url: Address of the folder of the files, with the last slash.
        md5: Checksum of each file, by its name.
        homes: Folders of ``dataset_path`` where files are looked for; downloads go to the first.
    """

    dataset: str
    url: str
    md5: Mapping[str, str]
    homes: tuple[str, ...]


def fetch(archive: Archive, dataset_path: Path, *, download: bool) -> Path:
    """The unpacked folder of an archive; unpacks or downloads it where it is missing.

    Args:
        archive: What is wanted.
        dataset_path: Where the folder or the archive lies or will be stored.
        download: Whether the network may be used.

    Raises:
        DatasetNotFound: It is not there and cannot be downloaded or written.
        BadArchive: The file is not the official archive.
    """
    home = dataset_path / archive.home
    folder = home / archive.folder
    if folder.is_dir():
        return folder
    folder_shown = Path(archive.home, archive.folder)
    wanted = f"{archive.filename} or the folder {folder_shown} inside it{archive.beside}"
    found = [path / archive.filename for path in (dataset_path, home)]
    file = next((path for path in found if path.exists()), home / archive.filename)
    if not file.exists() and not download:
        raise not_found(archive.dataset, dataset_path, wanted, "download=false")
    with writing(archive.dataset, dataset_path, wanted, archive.url):
        home.mkdir(exist_ok=True)
        if not folder.is_dir():
            _provide(archive.url, archive.md5, file)
            unpack(file, folder)
    return folder


def fetch_files(
    files: Files, dataset_path: Path, names: Sequence[str], *, download: bool
) -> list[Path]:
    """Where the files ``names`` lie, a ``.gz`` maybe unpacked; downloads what is missing.

    What is downloaded is checked; what lies there already is checked by whoever reads it.

    Args:
        files: What there is.
        dataset_path: Where the files lie or will be stored.
        names: Which of them are wanted.
        download: Whether the network may be used.

    Raises:
        DatasetNotFound: One is not there and cannot be downloaded or written.
        BadArchive: What was downloaded is not the official file.
    """
    missing = [name for name in names if _find(files, dataset_path, name) is None]
    wanted = f"{', '.join(missing or names)} (in {' or '.join(map(_shown, files.homes))})"
    if missing and not download:
        raise not_found(files.dataset, dataset_path, wanted, "download=false")
    for name in missing:
        with writing(files.dataset, dataset_path, wanted, files.url + name):
            home = dataset_path / files.homes[0]
            home.mkdir(parents=True, exist_ok=True)
            if _find(files, dataset_path, name) is None:
                _provide(files.url + name, files.md5[name], home / name)
    return [path for name in names if (path := _find(files, dataset_path, name)) is not None]


def not_found(dataset: str, dataset_path: Path, wanted: str, reason: str) -> DatasetNotFound:
    """The error that says what is missing, and what to put where."""
    return DatasetNotFound(
        f"{dataset} is not in dataset_path={dataset_path} ({reason}); put {wanted} there, "
        "or choose the dataset digits, or folder with root=<folder of images>"
    )


@contextmanager
def writing(dataset: str, dataset_path: Path, wanted: str, source: str) -> Iterator[None]:
    """One process at a time; what goes wrong with network or disk becomes one line.

    Raises:
        DatasetNotFound: ``source`` cannot be brought to ``dataset_path``.
    """
    try:
        dataset_path.mkdir(parents=True, exist_ok=True)
        with FileLock(dataset_path / f".{dataset}.lock"):
            yield
    except UserError:
        raise
    except _transfer.NETWORK_ERRORS as error:
        reason = _transfer.reason(source, error)
        raise not_found(dataset, dataset_path, wanted, reason) from None


def _provide(url: str, md5: str, file: Path) -> None:
    """Checks ``file``, or downloads it if it is not there."""
    if file.exists():
        log.info("checking %s", file)
        if (found := _md5(file)) != md5:
            raise BadArchive(f"{file} has MD5 {found} instead of {md5}; delete it and start again")
        return
    part = file.with_name(f"{file.name}.part")
    _transfer.download(url, part)
    if (found := _md5(part)) != md5:
        part.unlink()
        raise BadArchive(
            f"what {url} sent has MD5 {found} instead of {md5}; it was deleted: "
            f"start again, or put the official {file.name} into {file.parent}"
        )
    part.replace(file)


def _find(files: Files, dataset_path: Path, name: str) -> Path | None:
    for home in files.homes:
        for candidate in (name, name.removesuffix(".gz")):
            if (path := dataset_path / home / candidate).is_file():
                return path
    return None


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _shown(home: str) -> str:
    return home or "the folder itself"
