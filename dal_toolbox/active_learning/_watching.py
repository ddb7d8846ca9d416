"""Watching a query strategy: what it reads, how much memory it takes, what it depends on."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class GuardedOracle:
    """Remembers whose label was read."""

    def __init__(self, targets: np.ndarray) -> None:
        self._targets = targets
        self.read: set[int] = set()

    def label(self, indices: np.ndarray) -> np.ndarray:
        self.read.update(indices.tolist())
        return self._targets[indices]


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
def threads(count: int) -> Iterator[None]:
    """Another number of threads, put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
