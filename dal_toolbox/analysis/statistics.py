"""Which strategy is better, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEW_PAIRS = 6  # with fewer, a two-sided Wilcoxon test cannot reach p < 0.05: 2 / 2⁵ is 0.0625
EQUAL = 1e-12  # differences that differ by less of the numbers subtracted are rounding errors


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two strategies over seeds.

    Attributes:
        difference: Mean of first minus second.
        interval: 95 % confidence interval of the difference (Student's t); NaN if there is none: for
            one pair, and for equal differences other than 0.
        p_t: Two-sided p-value of the paired t-test. Equal differences have no spread to judge by:
            the p-value is then that of flipping their signs, 2 / 2ⁿ.
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
    scale = max(np.abs(first).max(), np.abs(second).max())
    if np.ptp(differences) <= EQUAL * scale:
        return _of_equal(differences, EQUAL * scale)
    mean, n = float(differences.mean()), len(differences)
    half, p_t = _student(differences)
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


def _of_equal(differences: np.ndarray, rounding: float) -> Comparison:
    """The comparison of a single pair, or of pairs whose differences are equal."""
    mean, n = float(differences.mean()), len(differences)
    if abs(mean) <= rounding:
        half, p = (0.0 if n > 1 else float("nan")), 1.0
    else:
        half, p = float("nan"), min(1.0, 2.0 ** (1 - n))
    return Comparison(mean, (mean - half, mean + half), p, p, n if mean > rounding else 0, n)


def _student(differences: np.ndarray) -> tuple[float, float]:
    """Half width of the 95 % interval and two-sided p-value."""
    from scipy.stats import t

    n = len(differences)
    error = differences.std(ddof=1) / np.sqrt(n)
    p = 2 * t.sf(abs(differences.mean()) / error, n - 1)
    return float(t.ppf(0.975, n - 1) * error), float(p)
