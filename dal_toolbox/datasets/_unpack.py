"""Archives unpacked safely: nothing is written outside the folder that was asked for."""

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from dal_toolbox.datasets._sealed import read_sealed, write_sealed
from dal_toolbox.errors import UserError
from dal_toolbox.io import BLOCK_BYTES, block_digests, remove_leftovers, verify_blocks
from dal_toolbox.progress import log, progress_bar

MIB = 2**20
RATIO, FLOOR = 20, 10**8  # largest size of what is unpacked: relative to the archive, and anyway
MEMBER_BYTES = 4096  # that an empty file takes
CHECKSUMS, FEW_FILES = "checksums.json", 20
DEEPEST = 50  # folders in each other


class BadArchive(UserError, ValueError):
    """A file that is not what it should be: damaged, unsafe, or another one."""


class UnsafeMember(tarfile.TarError):
    """Something in an archive that would be written elsewhere."""


# RuntimeError: a zip with a password, or packed in an unknown way. The last three: changed bytes.
BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError, LookupError, ValueError, struct.error),
)
# Of names that cannot be, and of places outside of the file; none: of bz2.
BROKEN_NUMBERS = (
    *(None, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),
)


class Budget:
    """How much an archive may still unpack to: images hardly shrink, so that little is much.

    Args:
        num_bytes: Size of the archive.
        folder: Where it is unpacked.
    """

    def __init__(self, num_bytes: int, folder: Path) -> None:
        self.limit = max(FLOOR, RATIO * num_bytes)
        self.free = shutil.disk_usage(folder).free
        self.folder = folder
        self.taken = 0

    def take(self, name: str, num_bytes: int) -> None:
        """Counts a member before it is written.

        Raises:
            UnsafeMember: The archive unpacks to far more than one of images does.
            OSError: The disk has no room for it.
        """
        if num_bytes < 0:
            raise UnsafeMember(f"{name!r} in it has a negative size")
        self.taken += max(num_bytes, MEMBER_BYTES)
        if self.taken > self.limit:
            raise UnsafeMember(
                f"it unpacks to more than {self.limit / 1e6:.0f} MB, over {RATIO} times its own "
                "size, which no archive of images does; if it is meant, unpack it by hand"
            )
        if self.taken > self.free:
            raise OSError(
                errno.ENOSPC, f"{self.free / 1e9:.1f} GB are too little", str(self.folder)
            )


def unpack(file: Path, folder: Path) -> None:
    """Makes ``folder`` of the folder of that name inside a tar or zip archive.

    Raises:
        BadArchive: The archive is damaged, unsafe, or holds no such folder.
        OSError: There is no room, or nothing can be written.
    """
    with unpacking(folder) as inside:
        extract(file, inside.parent)
        if not inside.is_dir():
            raise BadArchive(f"{file} holds no folder {folder.name}; put the official file there")
        _write_checksums(inside)


def check_unpacked(file: Path) -> Path:
    """The file, if it is what :func:`unpack` wrote, or nobody knows what that was.

    Raises:
        BadArchive: It was changed since.
    """
    manifest = file.parent / CHECKSUMS
    if not manifest.exists():  # unpacked by hand, or one file of many
        return file
    try:
        blocks = read_sealed(manifest)["blocks"].get(file.name, [])
        is_sound = verify_blocks(file, blocks, BLOCK_BYTES) is None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_sound = False
    if not is_sound:
        raise BadArchive(
            f"{file} is not what was unpacked, by {manifest}; delete the folder {file.parent} and "
            "start again, or that list if the change is meant"
        )
    return file


def _write_checksums(folder: Path) -> None:
    """Of few large files: they are read at every start; images show damage when they are decoded."""
    files = list(folder.iterdir())
    if len(files) <= FEW_FILES and all(path.is_file() for path in files):
        blocks = {path.name: block_digests(path, BLOCK_BYTES) for path in files}
        write_sealed(folder / CHECKSUMS, {"blocks": blocks})


@contextmanager
def unpacking(folder: Path) -> Iterator[Path]:
    """A place beside ``folder`` that becomes it once the block ends well.

    A half of it is never taken for it; what a killed call left is removed.
    """
    remove_leftovers(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        inside = Path(temporary) / folder.name
        yield inside
        inside.rename(folder)


def extract(file: Path, folder: Path) -> None:
    """Extracts all of a tar or zip archive into ``folder``, with a progress bar.

    Raises:
        BadArchive: The archive is damaged, unpacks to far too much, or a member is a link or leads
            out of ``folder``.
        OSError: There is no room, or nothing can be written.
    """
    log.info("unpacking %s", file)
    folder.mkdir(parents=True, exist_ok=True)
    with named_if_broken(file), file.open("rb") as stream, progress_bar() as progress:
        total = file.stat().st_size / MIB
        task = progress.add_task(f"Unpacking {file.name} (MiB)", total=total, note="")
        steps = _extract_zip if file.suffix == ".zip" else extract_tar
        for _ in steps(stream, folder, Budget(file.stat().st_size, folder)):
            progress.update(task, completed=stream.tell() / MIB)


@contextmanager
def named_if_broken(file: Path) -> Iterator[None]:
    """Names the archive in what its bytes cause; what the disk causes is left alone.

    Raises:
        BadArchive: The archive is damaged or unsafe.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, *BROKEN) as error:
        if isinstance(error, OSError) and error.errno not in BROKEN_NUMBERS:
            raise
        reason = one_line(error)[:300]
        raise BadArchive(f"{file} cannot be unpacked: {reason}; replace it") from error


def one_line(error: Exception) -> str:
    """What an exception says, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def extract_tar(stream: IO[bytes], folder: Path, budget: Budget) -> Iterator[str]:
    """Extracts a tar archive, compressed or not, and yields the name of each member done."""
    with tarfile.open(fileobj=cast(Any, _Headers(_inflated(stream))), mode="r:") as tar:
        for member in tar:
            _check(member.name, is_plain=member.isfile() or member.isdir())
            budget.take(member.name, member.size)
            tar.extract(member, folder, filter="data")
            cast(Any, tar).members = []  # else it remembers them all
            yield member.name


def _extract_zip(stream: IO[bytes], folder: Path, budget: Budget) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where a zip knows no kinds
            _check(member.filename, is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            budget.take(member.filename, member.file_size)  # no more than that is ever read
        for member in archive.infolist():
            archive.extract(member, folder)
            yield member.filename


def _inflated(stream: IO[bytes]) -> IO[bytes]:
    magic = stream.read(6)
    stream.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(stream))
    if magic.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(stream))
    return cast(IO[bytes], lzma.open(stream)) if magic == b"\xfd7zXZ\0" else stream


class _Headers:
    """A tar archive whose headers are small: tarfile reads those of any size into memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        """Members are copied in pieces of 16 KiB: what is larger is a header."""
        if not 0 <= size <= MIB:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.stream.read(size)


def _check(name: str, *, is_plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if not is_plain:
        raise UnsafeMember(f"{name!r} in it is a link or a device")
    if path.is_absolute() or ".." in path.parts:
        raise UnsafeMember(f"{name!r} in it leads out of its folder")
    if len(path.parts) > DEEPEST:
        raise UnsafeMember(f"{name[:40]!r}… in it lies {len(path.parts)} folders deep")
