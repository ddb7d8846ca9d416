"""What every benchmark needs: interleaved timings with their spread, and the facts beside them."""

import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "torchvision", "numpy", "scikit-learn", "faiss-gpu", "lightning", "timm")


@dataclass(frozen=True)
class Timing:
    """Seconds of each repetition, in the order in which they were run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)

    def rate(self, items: int) -> tuple[float, float, float]:
        """Items per second: median, slowest and fastest repetition."""
        return items / self.median, items / self.worst, items / self.best


def time_interleaved(
    contenders: Mapping[str, Callable[[], object]], repeats: int = 7, min_seconds: float = 0.2
) -> dict[str, Timing]:
    """Times all contenders in turn, round after round, so that a busy machine slows all of them.

    Args:
        contenders: Functions without arguments, by name; each runs once before as warm-up.
        repeats: Number of rounds. The order of the contenders turns over from round to round.
        min_seconds: A repetition calls a fast contender as often as fits in this time; 0 for once.
    """
    calls = {name: _calls_within(run, min_seconds) for name, run in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        for name in list(contenders)[:: 1 if repeat % 2 == 0 else -1]:
            seconds[name].append(_mean_seconds(contenders[name], calls[name]))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def memory_bandwidth(threads: int, mebibytes: int = 256) -> float:
    """Bytes per second read plus written by a large copy, the best of five."""
    previous = torch.get_num_threads()
    torch.set_num_threads(threads)
    source = torch.zeros(mebibytes * 2**18)
    target = torch.zeros_like(source)
    seconds = min(_mean_seconds(lambda: target.copy_(source), 1) for _ in range(5))
    torch.set_num_threads(previous)
    return 2 * source.nbytes / seconds


def facts() -> dict[str, object]:
    """Machine, versions, command and commit of this run."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES if version(name)},
        "command": shlex.join(["python", *sys.argv]),
        "commit": _commit(),
    }


def write_json(
    name: str,
    results: Mapping[str, object],
    timings: Mapping[str, Timing] | None = None,
    peers: Mapping[str, str | None] | None = None,
) -> Path:
    """Writes ``benchmarks/results/<name>.json``.

    Args:
        name: Of the file.
        results: The numbers that are claimed.
        timings: Every single repetition, for whoever wants another statistic.
        peers: Versions of the libraries compared with.
    """
    RESULTS.mkdir(exist_ok=True)
    raw = {key: asdict(timing)["seconds"] for key, timing in (timings or {}).items()}
    document = {
        "results": results,
        **facts(),
        "peers": dict(peers or {}),
        "seconds": raw,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def version(library: str) -> str | None:
    """Version of an installed distribution."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table to standard output; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _calls_within(run: Callable[[], object], seconds: float) -> int:
    run()
    if seconds == 0:
        return 1
    return max(1, round(seconds / max(_mean_seconds(run, 1), 1e-9)))


def _mean_seconds(run: Callable[[], object], calls: int) -> float:
    _synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    _synchronize()
    return (time.perf_counter() - start) / calls


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _commit() -> str | None:
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
