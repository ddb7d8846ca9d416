"""One process a run folder."""

import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

from dal_toolbox.errors import UserError
from dal_toolbox.io import read_json, write_json

LOCK, HOLDER = ".lock", ".lock_holder.json"
PATIENCE = 15.0  # seconds in which the workers of a killed process notice its death and let go


class RunLock:
    """Keeps other processes out of a run folder until it is released or its process dies.

    The lock is the operating system's: a killed process leaves none behind. A process that holds it
    already gets it again.

    Args:
        folder: The run folder.

    Raises:
        UserError: Another process holds the lock; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = FileLock(folder / LOCK, timeout=0, thread_local=False, is_singleton=True)
        try:
            self._acquire(folder / HOLDER)
        except Timeout:
            raise UserError(
                f"{folder} is in use by {_holder(folder / HOLDER)}; wait for it, end it, or choose "
                f"another output_dir"
            ) from None
        facts = {"host": socket.gethostname(), "process": os.getpid()}
        write_json(folder / HOLDER, {**facts, "since": time.strftime("%Y-%m-%d %H:%M:%S")})

    def _acquire(self, holder: Path) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            if _lives(holder):
                raise
            self._lock.acquire(timeout=PATIENCE)

    def release(self) -> None:
        """Lets others in."""
        self._lock.release(force=True)


def _lives(file: Path) -> bool:
    """Whether the holder may be alive: it is on another machine, or its process is there."""
    try:
        facts = read_json(file)
        if facts["host"] != socket.gethostname():
            return True
        os.kill(facts["process"], 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return True


def _holder(file: Path) -> str:
    try:
        facts = read_json(file)
        return f"process {facts['process']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
