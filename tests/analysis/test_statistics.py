"""Paired tests against scipy and closed forms; what little data cannot say."""

import numpy as np
import pytest
from scipy import stats

from dal_toolbox.analysis.statistics import FEW_PAIRS, compare, holm, mean_and_interval


def test_compare_agrees_with_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.random(12), rng.random(12)
    result = compare(a, b)
    assert result.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert result.interval == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval()))
    assert result.p_wilcoxon == pytest.approx(stats.wilcoxon(a - b).pvalue)
    assert result.wins == int((a > b).sum())


def test_a_rank_test_needs_few_pairs_to_reach_significance():
    smallest = [compare(np.arange(1.0, n + 1), np.zeros(n)).p_wilcoxon for n in range(2, 9)]
    assert min(n for n, p in enumerate(smallest, start=2) if p < 0.05) == FEW_PAIRS


def test_equal_strategies_have_no_difference():
    x = np.arange(5.0)
    result = compare(x, x)
    assert (result.p_t, result.interval, result.wins) == (1.0, (0.0, 0.0), 0)


@pytest.mark.parametrize("n", [2, 3, 5, 6])
@pytest.mark.parametrize("step", [1.0, -0.1, 0.1])
def test_equal_differences_are_judged_by_their_signs_alone(n, step):
    x = np.linspace(0.1, 0.9, n)  # x + 0.1 − x is 0.1 but for rounding
    result = compare(x + step, x)
    assert result.p_t == result.p_wilcoxon == pytest.approx(2.0 ** (1 - n))
    assert np.isnan(result.interval).all()
    assert result.wins == (n if step > 0 else 0)


def test_one_pair_has_a_difference_and_no_interval():
    result = compare(np.array([0.7]), np.array([0.5]))
    assert result.difference == pytest.approx(0.2)
    assert (result.p_t, result.p_wilcoxon) == (1.0, 1.0)
    assert np.isnan(result.interval).all()


def test_compare_refuses_what_cannot_be_paired():
    with pytest.raises(ValueError, match="cannot pair"):
        compare(np.zeros(3), np.zeros(4))


def test_holm_agrees_with_the_definition():
    p = np.random.default_rng(2).random(7)
    order = np.argsort(p)
    expected, running = np.empty(7), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (7 - rank) * p[i]))
        expected[i] = running
    assert np.allclose(holm(p), expected)


def test_interval_of_one_seed_is_empty():
    mean, half = mean_and_interval(np.ones((1, 3)))
    assert mean.tolist() == [1, 1, 1]
    assert half.tolist() == [0, 0, 0]
