"""What went wrong, in one line, where the user can do something about it."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dal_toolbox.config.plugins import in_plugin
from dal_toolbox.errors import UserError, printable

WAYS_OUT = {
    errno.ENOSPC: "free space on this disk; the same command goes on afterwards",
    errno.EDQUOT: "free space of your quota; the same command goes on afterwards",
    errno.EACCES: "choose another path, or ask for the permission",
    errno.EPERM: "choose another path, or ask for the permission",
    errno.EROFS: "choose a path that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower n_cpus",
    errno.ENOTDIR: "a part of this path is a file; choose another path",
}
FULL_DISK = ("No space left", "StorageFull", "PytorchStreamWriter failed writing")
TRACEBACK = "DAL_TOOLBOX_TRACEBACK"  # the user set HYDRA_FULL_ERROR
NO_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate")


class Stopped(Exception):
    """A run that ended in a line for the user."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.line, self.status = line, status


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns what a user can cause into :class:`Stopped`; other exceptions pass, with their traceback.

    With ``HYDRA_FULL_ERROR=1`` all pass.
    """
    try:
        yield
    except (Stopped, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        raise Stopped("interrupted; the same command resumes", 130) from None
    except Exception as error:
        line = line_of(error)
        if line is None or wants_traceback():
            raise
        raise Stopped(f"error: {line}", 2) from error


def line_of(error: BaseException) -> str | None:
    """The line for an error that a user can cause; None for one of the toolbox itself."""
    place = in_plugin(error.__traceback__)
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return f"not enough memory: {_cut(text)}; try a smaller batch, or fewer items"
    if any(words in text for words in FULL_DISK) and not isinstance(error, OSError):
        return f"no space left on the disk; {WAYS_OUT[errno.ENOSPC]}"
    if place is not None:
        return (
            f"a plugin failed with {type(error).__name__}: {_cut(text)} ({place}; "
            "HYDRA_FULL_ERROR=1 shows the traceback)"
        )
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return " ".join(str(error).split("\n\n")[0].split("\nSee ")[0].split())
    return None


def show(line: str) -> None:
    """Prints a line on standard error, whatever characters it holds."""
    print(printable(line), file=sys.stderr)


def show_traceback(error: BaseException) -> None:
    """Prints the traceback of an error of the toolbox itself."""
    traceback.print_exception(error)


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks."""
    return os.environ.get(TRACEBACK) == "1"


def _of_system(error: OSError) -> str:
    reason = error.strerror or _cut(" ".join(str(error).split()))
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    path = f"{' -> '.join(map(str, names))}: " if names else ""
    way_out = WAYS_OUT.get(error.errno or 0, "")
    return f"{path}{reason}{'; ' if way_out else ''}{way_out}"


def _cut(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:297]}..."
