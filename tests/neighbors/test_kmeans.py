import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import kmeans


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def blobs(make):
    """Points around 6 centers, and their centers."""
    labels = torch.arange(600) % 6
    return 20 * make("normal", n=6, d=8)[labels] + make("normal", n=600, d=8), labels


def test_finds_separate_groups(blobs):
    points, labels = blobs
    clusters = kmeans(points, 6, rng=rng(), redo=5)
    pairs = torch.stack([labels, clusters.assignments], dim=1).unique(dim=0)
    assert len(pairs) == 6
    means = torch.stack([points[clusters.assignments == c].mean(0) for c in range(6)])
    assert torch.allclose(clusters.centroids, means, atol=1e-4)


def test_assignments_and_inertia_follow_from_the_centroids(make, brute_force):
    points = make("normal")
    clusters = kmeans(points, 10, rng=rng())
    distances, nearest = brute_force(points, clusters.centroids, 1)
    assert torch.equal(clusters.assignments, nearest.squeeze(1))
    assert clusters.inertia == pytest.approx(float(distances.square().sum()), rel=1e-6)


def test_is_not_worse_than_scikit_learn(make):
    from sklearn.cluster import KMeans

    points = 3 * make("normal", n=40)[torch.arange(900) % 40] + make("normal", n=900)
    peer = [KMeans(30, n_init=1, random_state=i).fit(points.numpy()).inertia_ for i in range(10)]
    mine = [kmeans(points, 30, rng=rng(i)).inertia for i in range(10)]
    assert np.mean(mine) < np.mean(peer) + 2 * np.std(peer)
    assert kmeans(points, 30, rng=rng(), redo=10).inertia <= np.mean(mine)


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_a_seed_fixes_the_clusters_whatever_the_threads_and_global_generators(make, backend):
    import faiss

    points = make("normal", n=4000, d=64)
    runs = []
    for threads in (1, 2):
        before = torch.get_num_threads(), faiss.omp_get_max_threads()
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        np.random.seed(threads)  # noqa: NPY002  to show that it does not matter
        torch.manual_seed(threads)
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        runs.append(kmeans(points, 30, rng=rng(3), backend=backend))
        assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])
    assert torch.equal(runs[0].centroids, runs[1].centroids)
    assert torch.equal(runs[0].assignments, runs[1].assignments)
    other = kmeans(points, 30, rng=rng(4), backend=backend)
    assert not torch.equal(runs[0].assignments, other.assignments)


def test_both_backends_find_equally_good_clusters(make):
    points = 3 * make("normal", n=40)[torch.arange(4000) % 40] + make("normal", n=4000)
    weights = torch.linspace(0.5, 2, 4000)
    inertia = {
        backend: kmeans(points, 30, rng=rng(), weights=weights, redo=5, backend=backend).inertia
        for backend in ("torch", "faiss")
    }
    assert inertia["torch"] == pytest.approx(inertia["faiss"], rel=0.02)


@given(num_distinct=st.integers(1, 12), k=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_cluster_is_empty_among_duplicates(num_distinct, k, seed, make):
    distinct = make("normal", n=num_distinct, d=3)
    rows = torch.from_numpy(rng(seed).integers(num_distinct, size=40))
    points = distinct[torch.cat([rows, torch.arange(num_distinct)])]
    clusters = kmeans(points, k, rng=rng(seed))
    assert len(clusters) == min(k, num_distinct)
    assert (torch.bincount(clusters.assignments, minlength=len(clusters)) > 0).all()
    assert torch.isfinite(clusters.centroids).all()
    if k >= num_distinct:
        assert clusters.inertia == 0


@pytest.mark.parametrize("name", ["constant", "grid", "zeros", "float16", "tiny"])
def test_odd_points(name, make):
    for spherical in (False, True):
        clusters = kmeans(make(name), 20, rng=rng(), spherical=spherical)
        assert torch.isfinite(clusters.centroids).all()
        assert clusters.assignments.unique().tolist() == list(range(len(clusters)))


def test_spherical_clusters_directions(blobs):
    points, labels = blobs
    lengths = torch.linspace(0.1, 10, len(points))[:, None]
    clusters = kmeans(points * lengths, 6, rng=rng(), redo=5, spherical=True)
    assert torch.allclose(clusters.centroids.norm(dim=1), torch.ones(6), atol=1e-5)
    assert len(torch.stack([labels, clusters.assignments], dim=1).unique(dim=0)) == 6


def test_prints_and_warns_nothing_and_trains_on_all_or_on_the_stated_number(capfd, make):
    points = make("normal", n=700, d=4)
    for limit in (None, 10, 1000):
        kmeans(points, 2, rng=rng(), max_points_per_centroid=limit)
    kmeans(points, 600, rng=rng())
    kmeans(points, 700, rng=rng())
    assert capfd.readouterr() == ("", "")
    on_all = kmeans(points, 2, rng=rng()).centroids
    enough = kmeans(points, 2, rng=rng(), max_points_per_centroid=1000).centroids
    assert torch.equal(on_all, enough)
    assert not torch.equal(
        on_all, kmeans(points, 2, rng=rng(), max_points_per_centroid=10).centroids
    )


def test_errors():
    with pytest.raises(UserError, match="k=5 clusters asked of 4 items; choose k from 1 to 4"):
        kmeans(torch.zeros(4, 2), 5, rng=rng())
    with pytest.raises(UserError, match="NaN"):
        kmeans(torch.full((4, 2), float("nan")), 2, rng=rng())


@pytest.mark.parametrize("wrong", [{"redo": 0}, {"iterations": -1}, {"backend": "cuda"}])
def test_arguments_are_checked(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
        kmeans(torch.eye(4), 2, rng=np.random.default_rng(0), **wrong)
