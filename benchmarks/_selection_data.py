"""The selection problem of the benchmarks: features on disk, a few labels, one linear head for all."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dal_toolbox.active_learning import Pool, QueryContext
from dal_toolbox.classifiers.base import in_blocks
from dal_toolbox.classifiers.laplace import LaplaceClassifier
from dal_toolbox.seeding import generator

BLOCK = 2**16  # rows that are generated at once
LATENT = 32  # intrinsic dimensions, as features have about
DRAWS = 8  # of the posterior
SHARPNESS = 3.0  # standard deviation of the logits of a random head


@dataclass(frozen=True)
class Problem:
    """A folder with ``features.npy``, ``labels.npy`` and the heads; items 0, …, L − 1 are labeled.

    Args:
        folder: Where the arrays are.
        n: Size of the pool: the first rows.
        num_classes: C.
        real_classifier: Fit ``laplace`` instead of the head that costs one product.
    """

    folder: Path
    n: int
    num_classes: int
    real_classifier: bool = False

    @cached_property
    def labels(self) -> np.ndarray:
        return np.load(self.folder / "labels.npy")

    @cached_property
    def heads(self) -> np.ndarray:
        """The head and draws around it, biases last. Shape: (1 + M, d + 1, C)."""
        return np.load(self.folder / "heads.npy")

    def features(self, *, mapped: bool) -> np.ndarray:
        """Shape: (n, d)."""
        return np.load(self.folder / "features.npy", mmap_mode="c" if mapped else None)[: self.n]

    def context(self, seed: int, *, rows: int | None = None, mapped: bool) -> QueryContext:
        """What our strategies see; with ``rows``, of a smaller pool to warm up with."""
        features = torch.from_numpy(self.features(mapped=mapped)[:rows])
        labels = torch.from_numpy(self.labels[: len(features) // 2])
        known = np.arange(len(labels))
        classifier = LaplaceClassifier(self.num_classes) if self.real_classifier else Head(self)
        return QueryContext(
            features=features,
            pool=Pool.from_history(len(features), [known]),
            labels=labels,
            num_classes=self.num_classes,
            rng=generator(seed, "query"),
            classifier=classifier.fit(features[known], labels),
            cycle=1,
        )


class Head:
    """A linear head that is there already, with draws of its weights: predictions cost a product."""

    def __init__(self, problem: Problem) -> None:
        self.num_classes = problem.num_classes
        heads = torch.from_numpy(problem.heads).movedim(1, 2)  # (1 + M, C, d + 1)
        self.shape = len(heads) - 1, self.num_classes
        self.draws = heads[1:, :, :-1].flatten(0, 1).contiguous()  # (M · C, d): columns are slow
        self.draw_biases = heads[1:, :, -1].flatten()
        self.weight_ = heads[0, :, :-1].contiguous().T
        self.bias_ = heads[0, :, -1].contiguous()

    def fit(self, features: Tensor, labels: Tensor) -> Self:
        return self

    def logits(self, features: Tensor) -> Tensor:
        return in_blocks(self._logits, features)

    def _logits(self, features: Tensor) -> Tensor:
        return F.linear(features.float(), self.weight_.T, self.bias_)

    def probabilities(self, features: Tensor) -> Tensor:
        return self.logits(features).double().softmax(dim=1)

    def samples(self, features: Tensor, rng: np.random.Generator) -> Tensor:
        logits = F.linear(features.float(), self.draws, self.draw_biases)  # (n, M · C)
        return logits.unflatten(1, self.shape).softmax(dim=2).movedim(1, 2)


def problems(options: argparse.Namespace, work: Path) -> Iterator[Problem]:
    """One for each number of classes; or the one of features that are given."""
    if options.features is not None:
        problem = stored_problem(work, options.features, options.labeled, seed=options.seed)
        options.n, options.dim = problem.features(mapped=True).shape
        options.classes = [problem.num_classes]
        yield problem
        return
    for num_classes in options.classes:
        folder = work / str(num_classes)
        yield fitted_problem(
            folder, options.n, options.dim, num_classes, options.labeled, seed=options.seed
        )


def make_problem(
    folder: Path, n: int, dim: int, num_classes: int, labeled: int, *, dtype: str, seed: int
) -> Problem:
    """Unit-norm features around one center a class, written block by block; a random head."""
    rng = generator(seed, "mixture")
    centers = rng.normal(size=(num_classes, LATENT)).astype(np.float32)
    basis = rng.normal(size=(LATENT, dim)).astype(np.float32) / LATENT**0.5
    folder.mkdir(parents=True, exist_ok=True)
    shape = (n, dim)
    target = np.lib.format.open_memmap(folder / "features.npy", "w+", np.dtype(dtype), shape)
    labels = np.empty(0, dtype=np.int64)
    for block, (start, stop) in enumerate(_blocks(n)):
        rng = generator(seed, "features", block)
        classes = rng.integers(num_classes, size=stop - start)
        latent = centers[classes] + 0.7 * rng.standard_normal((stop - start, LATENT), np.float32)
        rows = latent @ basis + 0.1 * rng.standard_normal((stop - start, dim), np.float32)
        target[start:stop] = F.normalize(torch.from_numpy(rows), dim=1).numpy()
        labels = np.concatenate([labels, classes[: labeled - len(labels)]])
    target.flush()
    heads = SHARPNESS * generator(seed, "head").standard_normal((dim + 1, num_classes), np.float32)
    return _finish(folder, n, num_classes, labels, _around(heads, seed))


def fitted_problem(
    folder: Path, n: int, dim: int, num_classes: int, labeled: int, *, seed: int
) -> Problem:
    """The same in float32 with a head fitted to the labels, and draws from its posterior."""
    problem = make_problem(folder, n, dim, num_classes, labeled, dtype="float32", seed=seed)
    return _fit(problem, seed)


def stored_problem(folder: Path, source: Path, labeled: int, *, seed: int) -> Problem:
    """Features that were extracted before: ``values.npy`` and ``targets.npy``, in a random order."""
    values = np.load(source / "values.npy", mmap_mode="c")
    targets = np.load(source / "targets.npy")
    order = generator(seed, "order").permutation(len(values))
    folder.mkdir(parents=True, exist_ok=True)
    rows = torch.from_numpy(values[order]).float()
    np.save(folder / "features.npy", F.normalize(rows, dim=1).numpy())
    num_classes = int(targets.max()) + 1
    heads = np.zeros((1, 1, 1), np.float32)
    labels = targets[order[:labeled]].astype(np.int64)
    return _fit(_finish(folder, len(values), num_classes, labels, heads), seed)


def _fit(problem: Problem, seed: int) -> Problem:
    known = torch.from_numpy(problem.features(mapped=True)[: len(problem.labels)])
    model = LaplaceClassifier(problem.num_classes, num_samples=DRAWS)
    model.fit(known, torch.from_numpy(problem.labels))
    mean = torch.cat([model.weight_, model.bias_[None]])[None]
    draws = model.draw_weights(generator(seed, "draws")).movedim(2, 0)
    heads = torch.cat([mean, draws]).float().numpy()
    return _finish(problem.folder, problem.n, problem.num_classes, problem.labels, heads)


def _around(head: np.ndarray, seed: int) -> np.ndarray:
    noise = generator(seed, "draws").standard_normal((DRAWS, *head.shape), np.float32)
    return np.concatenate([head[None], head + 0.3 * noise])


def _finish(
    folder: Path, n: int, num_classes: int, labels: np.ndarray, heads: np.ndarray
) -> Problem:
    np.save(folder / "labels.npy", labels)
    np.save(folder / "heads.npy", heads)
    return Problem(folder, n, num_classes)


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, BLOCK):
        yield start, min(start + BLOCK, n)
