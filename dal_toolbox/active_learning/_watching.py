"""Watching a query strategy: what it reads, how much memory it takes, what it depends on."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dal_toolbox.progress import log


class GuardedOracle:
    """Remembers whose label was read."""

    def __init__(self, targets: np.ndarray) -> None:
        self._targets = targets
        self.read: set[int] = set()

    def label(self, indices: np.ndarray) -> np.ndarray:
        self.read.update(indices.tolist())
        return self._targets[indices]


class WatchedClassifier:
    """A fitted classifier that remembers what was read of it: predictions, posterior."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        self.read: set[str] = set()

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        self.classifier.fit(features, labels)
        return self

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        self.read.add("posterior")
        return self.classifier.samples(features, rng)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "classifier" not in self.__dict__:
            raise AttributeError(name)  # while it is copied
        self.read.add("predictions")
        return getattr(self.classifier, name)


class LargestTensor(TorchDispatchMode):
    """Watches the size of the largest tensor that an operation returns."""

    bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, Tensor):
                self.bytes = max(self.bytes, value.untyped_storage().nbytes())
        return result


@contextmanager
def other_globals() -> Iterator[None]:
    """Global generators in an unusual state, put back afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def global_states() -> tuple:
    """The states of all global generators."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return random.getstate(), repr(numpy_state), torch.get_rng_state().numpy().tobytes()


@contextmanager
def logged() -> Iterator[list[str]]:
    """The messages of the log, from level INFO."""
    messages: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        log.setLevel(before)
        log.removeHandler(handler)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Another number of threads, put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
