"""The jobs of one start: counted, and each on its own where one fails."""

import time
from collections.abc import Callable, Mapping, Sequence
from math import prod

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from dal_toolbox.config.failures import Stopped, plain_errors, show, show_traceback

MOST = 10  # failed jobs that the summary names


class Jobs:
    """Runs one job, or those of a sweep, of which the others run where one fails.

    Args:
        swept: The keys of a sweep, and how many values each has; None where Hydra alone knows.
    """

    def __init__(self, swept: Mapping[str, int | None]) -> None:
        self.swept = swept
        known = [number for number in swept.values() if number is not None]
        self.total = prod(known) if len(known) == len(swept) else None
        self.failures: list[tuple[str, str]] = []
        self.stopped: Stopped | None = None
        """How the only job ended; not raised in it, as Hydra would add a line of its own."""
        self._durations: list[float] = []

    def run(self, job: Callable[[], None]) -> None:
        """Runs a job.

        Raises:
            Stopped: The user interrupts a sweep, or another launcher collects errors itself.
        """
        if HydraConfig.get().mode == RunMode.RUN:
            try:
                with plain_errors():
                    job()
            except Stopped as stopped:
                self.stopped = stopped
            return
        if not _is_local_sweep():
            with plain_errors():
                job()
            return
        name = self._name(HydraConfig.get().overrides.task)
        show(self._heading(HydraConfig.get().job.num + 1, name))
        start = time.perf_counter()
        try:
            with plain_errors():
                job()
        except Stopped as stopped:
            if stopped.status != 2:
                raise
            show(stopped.line)
            self.failures.append((name, stopped.line.removeprefix("error: ")))
        except BrokenPipeError:
            raise
        except Exception as error:
            show_traceback(error)
            self.failures.append((name, f"{type(error).__name__}: {error}"))
        self._durations.append(time.perf_counter() - start)

    def summary(self) -> list[str]:
        """Lines that name the failed jobs of a sweep."""
        lines = [f"{len(self.failures)} of {len(self._durations)} jobs failed:"]
        lines += [f"  {name}: {line}" for name, line in self.failures[:MOST]]
        if len(self.failures) > MOST:
            lines.append(f"  and {len(self.failures) - MOST} more")
        return lines

    def _name(self, overrides: Sequence[str]) -> str:
        """What tells a job from the others."""
        own = [item for item in overrides if item.partition("=")[0] in self.swept]
        return " ".join(own or overrides)

    def _heading(self, number: int, name: str) -> str:
        total = f" of {self.total}" if self.total else ""
        left = ""
        if self.total and self._durations:
            mean = sum(self._durations) / len(self._durations)
            left = f" (about {duration(mean * (self.total - number + 1))} left)"
        return f"job {number}{total}: {name}{left}"


def duration(seconds: float) -> str:
    """A duration as people say it.

    >>> duration(42), duration(200), duration(9000)
    ('42 s', '3 min', '2 h 30 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _is_local_sweep() -> bool:
    """Whether this is a job of a sweep in this process; other launchers collect errors themselves."""
    config = HydraConfig.get()
    return config.mode == RunMode.MULTIRUN and "BasicLauncher" in config.launcher["_target_"]
