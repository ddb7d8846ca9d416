"""One process a run folder."""

import os
import socket
import time
from pathlib import Path

from filelock import FileLock, Timeout

from dal_toolbox.errors import UserError
from dal_toolbox.io import read_json, write_json

LOCK, HOLDER = ".lock", ".lock_holder.json"


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
            self._lock.acquire()
        except Timeout:
            raise UserError(
                f"{folder} is in use by {_holder(folder / HOLDER)}; wait for it, end it, or choose "
                f"another output_dir"
            ) from None
        facts = {"host": socket.gethostname(), "process": os.getpid()}
        write_json(folder / HOLDER, {**facts, "since": time.strftime("%Y-%m-%d %H:%M:%S")})

    def release(self) -> None:
        """Lets others in."""
        self._lock.release(force=True)


def _holder(file: Path) -> str:
    try:
        facts = read_json(file)
        return f"process {facts['process']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
