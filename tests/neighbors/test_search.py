import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import knn
from dal_toolbox.neighbors import search as search_module


@pytest.mark.parametrize("backend", ["exact", "flat"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("exclude_self", [True, False])
def test_agrees_with_brute_force_in_float64(points, metric, exclude_self, backend, brute_force):
    for k in (1, 21, len(points) - 1):
        expected, indices = brute_force(points, points, k, metric, exclude_self)
        options = {"metric": metric, "exclude_self": exclude_self, "backend": backend}
        found = knn(points, points, k, **options)
        assert torch.equal(found.indices, indices)
        assert found.distances.dtype == torch.float32
        assert torch.allclose(found.distances.double(), expected, rtol=1e-6, atol=1e-37)


@given(
    array=hnp.arrays(
        np.float32,
        st.tuples(st.integers(2, 40), st.integers(1, 4)),
        elements=st.floats(-3, 3, width=16) | st.integers(-2, 2).map(float),
    ),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_queries_and_keys(array, data, brute_force):
    keys = torch.from_numpy(array)
    queries = keys[data.draw(st.integers(0, len(keys) - 1)) :]
    k = data.draw(st.integers(1, len(keys)))
    metric = data.draw(st.sampled_from(["euclidean", "cosine"]))
    found = knn(
        queries, keys, k, metric=metric, chunk_bytes=data.draw(st.sampled_from([2**12, 2**20]))
    )
    assert torch.equal(found.indices, brute_force(queries, keys, k, metric)[1])


@pytest.mark.parametrize("name", ["normal", "duplicates", "far from zero", "outlier"])
def test_neither_chunks_nor_threads_change_a_bit(name, make):
    points = make(name, n=500, d=40)
    runs = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        for chunk_bytes in (2**17, 2**20, 2**28):
            runs.append(knn(points, points, 13, exclude_self=True, chunk_bytes=chunk_bytes))
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert torch.equal(run.indices, runs[0].indices)
        assert torch.equal(run.distances, runs[0].distances)


def test_symmetric_work_equals_the_general_one(make):
    points = make("normal", n=500)
    mine = knn(points, points, 7, exclude_self=True, chunk_bytes=2**16)
    copied = knn(points.clone(), points, 7, exclude_self=True, chunk_bytes=2**16)
    assert torch.equal(mine.indices, copied.indices)


@pytest.mark.parametrize("backend", ["exact", "flat", "ivf", "hnsw"])
def test_no_item_is_its_own_neighbor_and_its_duplicates_are(backend, make):
    points = make("normal", n=200).repeat_interleave(3, dim=0)
    found = knn(points, points, 2, exclude_self=True, backend=backend)
    rows = torch.arange(len(points))[:, None]
    assert not (found.indices == rows).any()
    if backend != "hnsw":  # whose graph is not bound to reach every duplicate
        assert (found.indices // 3 == rows // 3).all()
        assert (found.distances == 0).all()


@pytest.mark.parametrize("backend", ["ivf", "hnsw"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_approximations_give_true_distances_and_most_neighbors(
    backend, metric, make, distance_matrix
):
    points = make("normal", n=3000, d=16)
    found = knn(points, points, 10, metric=metric, exclude_self=True, backend=backend)
    truth = distance_matrix(points, points, metric)
    assert torch.allclose(found.distances.double(), truth.gather(1, found.indices), atol=1e-6)
    exact = knn(points, points, 10, metric=metric, exclude_self=True).indices
    recall = (found.indices[:, :, None] == exact[:, None]).any(1).double().mean()
    assert recall > 0.8
    assert (found.distances.diff(dim=1) >= 0).all()
    assert all(len(set(row)) == 10 for row in found.indices.tolist())


@pytest.mark.parametrize("backend", ["ivf", "hnsw"])
def test_rows_that_an_index_leaves_short_are_searched(backend, monkeypatch, make, brute_force):
    points = make("normal", n=400)

    def blind(kind, left, right, width, exclude_self):
        return torch.full((len(left.rows), width), -1)

    monkeypatch.setattr(search_module, "propose_approximate", blind)
    found = knn(points, points, 5, exclude_self=True, backend=backend)
    assert torch.equal(found.indices, brute_force(points, points, 5, exclude_self=True)[1])


def test_memory_mapped_float16(tmp_path, make, brute_force):
    np.save(tmp_path / "x.npy", make("float16").numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    found = knn(mapped, mapped, 5, metric="cosine", chunk_bytes=2**14)
    assert torch.equal(found.indices, brute_force(mapped, mapped, 5, "cosine")[1])


def test_precision_settings_are_overruled_and_restored(make):
    points = make("far from zero")
    expected = knn(points, points, 5)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = knn(points.requires_grad_(), points, 5)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(found.indices, expected.indices)
    assert not found.distances.requires_grad


def test_no_queries():
    found = knn(torch.empty(0, 3), torch.zeros(5, 3), 2)
    assert found.indices.shape == found.distances.shape == (0, 2)


@pytest.mark.parametrize(
    ("k", "exclude_self", "message"),
    [
        (21, False, "k=21 neighbors asked of 20 items; choose k from 1 to 20"),
        (0, False, "k=0 neighbors asked of 20 items; choose k from 1 to 20"),
        (
            20,
            True,
            "k=20 neighbors asked of 20 items, none of which is its own neighbor; "
            "choose k from 1 to 19",
        ),
    ],
)
def test_more_neighbors_than_items(k, exclude_self, message):
    points = torch.zeros(20, 2)
    with pytest.raises(UserError) as error:
        knn(points, points, k, exclude_self=exclude_self)
    assert str(error.value) == message
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_numbers_without_a_distance_are_refused(value):
    points = torch.zeros(20, 2)
    points[7, 1] = value
    with pytest.raises(UserError, match="row 7"):
        knn(points, points, 2)


def test_misuse():
    points = torch.zeros(4, 2)
    with pytest.raises(ValueError, match="metric='manhattan': choose one of euclidean, cosine"):
        knn(points, points, 1, metric="manhattan")
    with pytest.raises(ValueError, match="backend='annoy': choose one of auto, exact"):
        knn(points, points, 1, backend="annoy")
    with pytest.raises(ValueError, match=r"\(4, 2\) and keys \(4, 3\)"):
        knn(points, torch.zeros(4, 3), 1)
    with pytest.raises(ValueError, match="exclude_self with 2 queries and 4 keys"):
        knn(points[:2], points, 1, exclude_self=True)


def test_auto_is_exact_and_says_so(caplog, monkeypatch):
    keys = torch.zeros(10, 3)
    with caplog.at_level(logging.DEBUG, "dal_toolbox"):
        assert search_module.choose_backend("auto", 10, keys) == "exact"
    assert "exact in torch on cpu" in caplog.text
    assert search_module.choose_backend("hnsw", 10, keys) == "hnsw"
    monkeypatch.setattr(search_module, "faiss_gpus", lambda: 1)
    assert search_module.choose_backend("auto", 10, keys) == "exact"
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        assert search_module.choose_backend("auto", 10**11, keys) == "flat"
    assert "flat FAISS index on 1 GPUs" in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_gpu_agrees_with_brute_force(points, metric, brute_force):
    on_gpu = points.cuda()
    found = knn(on_gpu, on_gpu, 5, metric=metric, exclude_self=True)
    expected = brute_force(points, points, 5, metric, exclude_self=True)[1]
    assert torch.equal(found.indices.cpu(), expected)
