import numpy as np
import torch
from scipy.stats import chisquare

from dal_toolbox.active_learning._situations import PosteriorClassifier, Situation, blobs
from dal_toolbox.active_learning.strategies._cluster_pick import cluster
from dal_toolbox.active_learning.strategies.random_cluster import RandomCluster


def test_one_item_of_each_cluster():
    situation = Situation(blobs(60)[0])
    clusters = cluster(situation.context(PosteriorClassifier), np.arange(60), 8)
    picks = RandomCluster().query(situation.context(PosteriorClassifier), 8)
    assert sorted(clusters.assignments[picks].tolist()) == list(range(8))
    sizes = clusters.sizes[clusters.assignments[picks]]
    assert (np.diff(sizes) <= 0).all()  # large clusters first


def test_members_are_equally_likely():
    features, targets = blobs(60)
    features = features / 100 + 10 * torch.eye(3, 8)[targets]  # three sure clusters
    situation = Situation(features)
    counts = np.zeros(60)
    for seed in range(200):
        picks = RandomCluster().query(situation.context(PosteriorClassifier, seed=seed), 3)
        assert len(set(targets[picks])) == 3
        counts[picks] += 1
    assert chisquare(counts).pvalue > 0.01
