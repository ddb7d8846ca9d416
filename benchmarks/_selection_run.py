"""One query in a process of its own, with limits of time and memory."""

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _selection_data import Problem

from dal_toolbox.active_learning.strategies import STRATEGIES

WARM_UP = 200  # rows of the query that loads the libraries
PRELOADED = ["torch", "sklearn.cluster", "sklearn.linear_model", "scipy.special", "_selection_run"]


@dataclass(frozen=True)
class Job:
    """A strategy on a problem; ``side`` is ours or peer."""

    side: str
    strategy: str
    problem: Problem
    batch: int
    threads: int = 1
    seed: int = 0
    mapped: bool = False
    options: tuple[tuple[str, Any], ...] = ()  # hyperparameters of ours


@dataclass(frozen=True)
class Outcome:
    """What a job took; ``failure`` says why there is no time."""

    seconds: float | None
    peak_mib: float | None = None  # resident beyond the start, mapped files included
    anonymous_mib: float | None = None  # the process's largest, mapped files excluded
    picks: tuple[int, ...] = ()
    failure: str = ""

    def __str__(self) -> str:
        return self.failure if self.seconds is None else f"{self.seconds:.3g}"


def set_threads(threads: int) -> None:
    """Before the first job: the libraries read it when they are loaded."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    torch.set_num_threads(threads)
    multiprocessing.set_forkserver_preload(PRELOADED)


def run_job(job: Job, *, seconds: float, gib: float) -> Outcome:
    """Runs a job and ends it where it takes longer or more memory."""
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, sender), daemon=True)
    process.start()
    sender.close()
    try:
        return _watch(receiver, process.pid, seconds, gib)
    finally:
        process.kill()
        process.join()


def _watch(receiver: Connection, pid: int, seconds: float, gib: float) -> Outcome:
    anonymous, start = 0.0, None
    try:
        while True:
            if receiver.poll(0.02):
                message = receiver.recv()
                if isinstance(message, Outcome):
                    return Outcome(**{**vars(message), "anonymous_mib": anonymous or None})
                start = time.perf_counter()  # it is ready: the query begins
            anonymous = max(anonymous, resident_mib(pid, "RssAnon"))
            if anonymous > gib * 1024:
                return Outcome(None, anonymous_mib=anonymous, failure=f"> {gib:g} GiB")
            if start is not None and time.perf_counter() - start > seconds:
                return Outcome(None, anonymous_mib=anonymous, failure=f"> {seconds:g} s")
    except EOFError:
        return Outcome(None, anonymous_mib=anonymous, failure="died")


def _work(job: Job, sender: Connection) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(job.threads)
    try:
        query = _prepare(job)
        before = peak_mib(reset=True)
        sender.send("ready")
        start = time.perf_counter()
        picks = query()
        elapsed = time.perf_counter() - start
        peak = max(0.0, peak_mib() - before)
        sender.send(Outcome(elapsed, peak, picks=tuple(int(i) for i in picks)))
    except Exception as error:
        lines = str(error).splitlines() or [""]
        sender.send(Outcome(None, failure=f"{type(error).__name__}: {lines[0][:60]}"))


def _prepare(job: Job) -> Callable[[], np.ndarray]:
    """The query, after a tiny one in which the libraries are loaded."""
    if job.side == "peer":
        from _selection_peers import PEERS, Setting

        query = PEERS[job.strategy]
        with suppress(Exception):
            query(Setting(job.problem, 2, job.seed, WARM_UP))
        setting = Setting(job.problem, job.batch, job.seed)
        return lambda: query(setting)
    strategy = STRATEGIES.build(job.strategy, **dict(job.options))
    if job.strategy != "refine":  # hundreds of queries
        with suppress(ValueError):
            strategy.query(job.problem.context(0, rows=WARM_UP, mapped=job.mapped), 2)
    context = job.problem.context(job.seed, mapped=job.mapped)
    return lambda: strategy.query(context, job.batch)


def peak_mib(*, reset: bool = False) -> float:
    """High-water mark of the resident memory; with ``reset``, what is resident now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return resident_mib(os.getpid(), "VmHWM")


def resident_mib(pid: int, field: str) -> float:
    """A line of the process's status, 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)
