"""Which strategy is better, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEW_PAIRS = 5  # below, a two-sided Wilcoxon test cannot reach p < 0.05


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two strategies over seeds.

    Attributes:
        difference: Mean of first minus second.
        interval: 95 % confidence interval of the difference (Student's t).
        p_t: Two-sided p-value of the paired t-test.
        p_wilcoxon: Two-sided p-value of Wilcoxon's signed-rank test.
        wins: Seeds in which the first is better.
        n: Pairs.
    """

    difference: float
    interval: tuple[float, float]
    p_t: float
    p_wilcoxon: float
    wins: int
    n: int


def compare(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares two strategies, run with the same seeds.

    Args:
        first: One number a seed (area under the learning curve, say). Shape: (n,).
        second: The other strategy's, in the same order of seeds. Shape: (n,).

    Raises:
        ValueError: The arrays cannot be paired.
    """
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        raise ValueError(f"cannot pair shapes {first.shape} and {second.shape}")
    differences = first - second
    mean, n = float(differences.mean()), len(differences)
    p_t, p_wilcoxon, half = 1.0, 1.0, float("nan")
    if n > 1:
        half, p_t = _student(differences)
    if np.any(differences != 0):
        from scipy.stats import wilcoxon

        p_wilcoxon = float(wilcoxon(differences).pvalue)
    return Comparison(
        mean, (mean - half, mean + half), p_t, p_wilcoxon, int((differences > 0).sum()), n
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's correction for several tests (Holm, 1979). Shape: (m,).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def mean_and_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds, and half the width of its 95 % confidence interval (Student's t).

    Args:
        values: Shape: (seeds, cycles).
    """
    n = len(values)
    if n == 1:
        return values[0], np.zeros_like(values[0])
    from scipy.stats import t

    half = t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return values.mean(axis=0), half


def _student(differences: np.ndarray) -> tuple[float, float]:
    """Half width of the 95 % interval and two-sided p-value; constant differences are certain."""
    from scipy.stats import t

    n = len(differences)
    error = differences.std(ddof=1) / np.sqrt(n)
    if error == 0:
        return 0.0, float(differences[0] == 0)
    p = 2 * t.sf(abs(differences.mean()) / error, n - 1)
    return float(t.ppf(0.975, n - 1) * error), float(p)
