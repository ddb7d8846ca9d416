"""Plots and tables of data: they show what they should, for awkward data too."""

import numpy as np
import pytest

from dal_toolbox.analysis.dataset import class_counts, class_table, plot_classes
from dal_toolbox.analysis.embedding import plot_embedding, tsne
from dal_toolbox.datasets import DATASETS

DIGITS = DATASETS.build("digits", val_size=0.1)


def test_counts_are_those_of_the_splits(tmp_path):
    counts = class_counts(DIGITS)
    assert {name: count.sum() for name, count in counts.items()} == {
        "train": len(DIGITS.train),
        "val": len(DIGITS.val),
        "test": len(DIGITS.test),
    }
    assert class_table(DIGITS).row_count == 11
    plot_classes(DIGITS, tmp_path / "classes.png")
    assert (tmp_path / "classes.png").stat().st_size > 1000


@pytest.mark.parametrize("n", [4, 10, 90])
def test_tsne_keeps_clusters_apart_and_follows_its_seed(n, tmp_path):
    targets = np.arange(n) % 2
    x = np.random.default_rng(0).normal(size=(n, 60)) + 40 * targets[:, None]
    one, two = (tsne(x, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (n, 2)
    if n == 90:
        distances = np.linalg.norm(one[:, None] - one[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        assert np.mean(targets[distances.argmin(1)] == targets) > 0.95
    plot_embedding(one, targets, ("a", "b"), tmp_path / "map.png", "map")
    assert (tmp_path / "map.png").exists()
