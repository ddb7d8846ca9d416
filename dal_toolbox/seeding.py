"""Randomness: the only place that seeds."""

import random

import numpy as np
import torch

from dal_toolbox.arguments import at_least


def seed_everything(seed: int) -> None:
    """Seeds the global generators, for the libraries that draw from them (weight initialization).

    The toolbox itself never draws from them: it takes a generator as ``rng``.

    Raises:
        ValueError: The seed is negative or no integer.
    """
    at_least(0, seed=seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  libraries still read the legacy generator
    torch.manual_seed(seed % 2**64)  # takes no larger ones


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator for one purpose, independent of those for other purposes.

    >>> int(generator(0, "query", 3).integers(100)) == int(generator(0, "query", 3).integers(100))
    True

    Raises:
        ValueError: The seed is negative or no integer.
    """
    at_least(0, seed=seed)
    words = [word for part in purpose for word in _words(part)]
    # The last 1 tells ("a",) from ("a", 0): a SeedSequence pads its entropy with zeros.
    return np.random.default_rng(np.random.SeedSequence([seed, *words, 1]))


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for a library that wants an integer (31 bits)."""
    return int(rng.integers(2**31 - 1))


def torch_generator(
    rng: np.random.Generator, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator whose stream is fixed by ``rng``."""
    return torch.Generator(device=device).manual_seed(draw_seed(rng))


def _words(part: str | int) -> list[int]:
    # A string is hashed by content: Python's own hash changes with every process.
    return [0, part] if isinstance(part, int) else [1, len(part), *part.encode()]
