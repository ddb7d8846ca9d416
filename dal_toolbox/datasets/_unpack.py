"""Archives unpacked safely: nothing is written outside the folder that was asked for."""

import gzip
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from dal_toolbox.errors import UserError
from dal_toolbox.progress import log, progress_bar

MIB = 2**20


class BadArchive(UserError, ValueError):
    """A file that is not what it should be: damaged, unsafe, or another one."""


class UnsafeMember(tarfile.TarError):
    """Something in an archive that would be written elsewhere."""


# RuntimeError: a zip with a password, or packed in an unknown way.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError),
)


def unpack(file: Path, folder: Path) -> None:
    """Makes ``folder`` of the folder of that name inside a tar or zip archive.

    It is unpacked beside its place and renamed, so that a half of it is never taken for it.

    Raises:
        BadArchive: The archive is damaged, unsafe, or holds no such folder.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        extract(file, Path(temporary))
        inside = Path(temporary) / folder.name
        if not inside.is_dir():
            raise BadArchive(f"{file} holds no folder {folder.name}; put the official file there")
        inside.rename(folder)


def extract(file: Path, folder: Path) -> None:
    """Extracts all of a tar or zip archive into ``folder``, with a progress bar.

    Raises:
        BadArchive: The archive is damaged, or a member is a link or leads out of ``folder``.
    """
    log.info("unpacking %s", file)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("rb") as stream, progress_bar() as progress:
            total = file.stat().st_size / MIB
            task = progress.add_task(f"Unpacking {file.name} (MiB)", total=total, note="")
            steps = _extract_zip if file.suffix == ".zip" else extract_tar
            for _ in steps(stream, folder):
                progress.update(task, completed=stream.tell() / MIB)
    except BROKEN as error:
        raise BadArchive(f"{file} cannot be unpacked: {one_line(error)}; replace it") from error


def one_line(error: Exception) -> str:
    """What an exception says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def extract_tar(stream: IO[bytes], folder: Path) -> Iterator[str]:
    """Extracts a tar archive, compressed or not, and yields the name of each member done."""
    with tarfile.open(fileobj=stream) as tar:
        for member in tar:
            _check(member.name, is_plain=member.isfile() or member.isdir())
            tar.extract(member, folder, filter="data")
            cast(Any, tar).members = []  # else it remembers them all
            yield member.name


def _extract_zip(stream: IO[bytes], folder: Path) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where a zip knows no kinds
            _check(member.filename, is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            archive.extract(member, folder)
            yield member.filename


def _check(name: str, *, is_plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not is_plain:
        raise UnsafeMember(f"{name!r} in it is a link or a device")
    if path.is_absolute() or ".." in path.parts:
        raise UnsafeMember(f"{name!r} in it leads out of its folder")
