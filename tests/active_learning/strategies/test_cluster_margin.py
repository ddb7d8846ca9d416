import logging

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from dal_toolbox.active_learning._situations import (
    PosteriorClassifier,
    Situation,
    blobs,
    situations,
)
from dal_toolbox.active_learning.strategies.cluster_margin import ClusterMargin, average_linkage


def naive_average_linkage(x, number):
    """Merges the two clusters with the smallest mean of pairwise cosine distances, again and again."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    distances = 1 - x @ x.T
    clusters = [[i] for i in range(len(x))]
    while len(clusters) > number:
        best = min(
            (distances[np.ix_(a, b)].mean(), i, j)
            for i, a in enumerate(clusters)
            for j, b in enumerate(clusters[:i])
        )
        _, i, j = best
        clusters[j] += clusters.pop(i)
    labels = np.empty(len(x), int)
    for label, members in enumerate(clusters):
        labels[members] = label
    return labels


def same_partition(a, b):
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))


@pytest.mark.parametrize("number", [1, 4, 10, 60])
def test_clusters_equal_naive(number):
    features, _ = blobs(60)
    context = Situation(features).context(PosteriorClassifier)
    clusters = average_linkage(context, number, max_exact=2048)
    assert same_partition(clusters, naive_average_linkage(features.double().numpy(), number))
    assert sorted(set(clusters.tolist())) == list(range(number))


def test_clusters_equal_scipy_on_digits():
    from sklearn.datasets import load_digits

    features = torch.from_numpy(load_digits().data[:500] / 16).float()
    context = Situation(features).context(PosteriorClassifier)
    clusters = average_linkage(context, 50, max_exact=500)
    merges = linkage(pdist(features.double().numpy(), "cosine"), "average")
    height = (merges[-50, 2] + merges[-49, 2]) / 2
    assert same_partition(clusters, fcluster(merges, height, "distance"))


def test_cells_give_the_same_clusters_where_these_are_far_apart(caplog):
    rng = np.random.default_rng(0)
    groups = rng.integers(40, size=600)
    x = rng.normal(size=(40, 16))[groups] + 1e-3 * rng.normal(size=(600, 16))
    context = Situation(torch.from_numpy(x).float()).context(PosteriorClassifier)
    with caplog.at_level(logging.INFO, logger="dal_toolbox"):
        clusters = average_linkage(context, 40, max_exact=100)
    assert "max_exact=100" in caplog.text
    assert same_partition(clusters, groups)


def test_a_cell_of_equal_items_is_split():
    context = Situation(blobs(1)[0].repeat(50, 1)).context(PosteriorClassifier)
    clusters = average_linkage(context, 5, max_exact=20)
    assert sorted(set(clusters.tolist())) == list(range(5))


def reference(context, clusters, margin_factor, n, luck):
    """Round-robin, one item at a time, with the order within clusters given by ``luck``."""
    p = context.probabilities.numpy()
    top = np.sort(p, axis=1)
    margins = top[:, -1] - top[:, -2]
    kept = sorted(range(len(margins)), key=lambda i: (margins[i], i))[: margin_factor * n]
    groups = {}
    for position, i in enumerate(kept):
        index = int(context.unlabeled[i])
        groups.setdefault(int(clusters[index]), []).append((luck[position], index))
    picks = []
    order = sorted(groups, key=lambda c: (len(groups[c]), c))
    groups = {c: sorted(groups[c]) for c in order}
    while len(picks) < n:
        for c in order:
            if groups[c] and len(picks) < n:
                picks.append(groups[c].pop(0)[1])
    return picks


@pytest.mark.parametrize(("margin_factor", "n"), [(10, 3), (2, 8), (1, 5), (10, 50)])
def test_picks_equal_the_reference(margin_factor, n):
    context, other = (situations()["ordinary"].context(PosteriorClassifier) for _ in range(2))
    clusters = average_linkage(other, 12, max_exact=2048)
    luck = other.rng.permutation(min(margin_factor * n, len(other.unlabeled)))
    expected = reference(other, clusters, margin_factor, n, luck)
    strategy = ClusterMargin(margin_factor=margin_factor, cluster_size=5)
    assert strategy.query(context, n).tolist() == expected


def test_small_cells_keep_the_contract():
    features, targets = blobs(300)
    situation = Situation(features, tuple(range(20)), tuple(targets[:20].tolist()))
    strategy = ClusterMargin(max_exact=40)
    picks = strategy.query(situation.context(PosteriorClassifier), 30)
    assert len(set(picks.tolist())) == 30
    again = strategy.query(situation.context(PosteriorClassifier, chunk_bytes=2**12), 30)
    assert again.tolist() == picks.tolist()


def test_one_class_has_certain_predictions():
    situation = Situation(blobs(60)[0], (0, 1, 2), (0, 0, 0), num_classes=1)
    context = situation.context(PosteriorClassifier)
    clusters = average_linkage(context, 12, max_exact=2048)
    picks = ClusterMargin(cluster_size=5).query(context, 4)
    assert len(set(clusters[picks])) == 4  # turns are taken all the same


@pytest.mark.parametrize("wrong", [{"max_exact": 1}, {"margin_factor": 0}, {"cluster_size": -1}])
def test_bad_arguments(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name}="):
        ClusterMargin(**wrong)
