import pytest
import torch

from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import KNNGraph, knn_graph, radius_graph


def test_graph_of_the_nearest_others(points, brute_force):
    graph = knn_graph(points, 6, metric="cosine")
    expected = brute_force(points, points, 6, "cosine", exclude_self=True)[1]
    assert torch.equal(graph.indices, expected)
    assert (graph.metric, graph.k, len(graph)) == ("cosine", 6, len(points))


def test_head_is_the_graph_of_fewer(make):
    points = make("duplicates")
    head = knn_graph(points, 20).head(4)
    assert torch.equal(head.indices, knn_graph(points, 4).indices)
    with pytest.raises(UserError, match="k=21 neighbors asked of a graph with 20"):
        knn_graph(points, 20).head(21)


def test_saved_and_loaded(tmp_path, make):
    graph = knn_graph(make("normal"), 5)
    graph.save(tmp_path / "graph")
    graph.save(tmp_path / "graph")  # takes the place of the first
    loaded = KNNGraph.load(tmp_path / "graph")
    assert torch.equal(loaded.indices, graph.indices)
    assert torch.equal(loaded.distances, graph.distances)
    assert loaded.metric == "euclidean"
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]
    loaded.distances[0, 0] = -1  # mapped copy-on-write: the file stays as it is
    assert torch.equal(KNNGraph.load(tmp_path / "graph").distances, graph.distances)


@pytest.mark.parametrize("name", ["indices.npy", "distances.npy", "graph.json"])
def test_damage_is_noticed(tmp_path, name, make):
    knn_graph(make("normal"), 5).save(tmp_path / "graph")
    file = tmp_path / "graph" / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError):
        KNNGraph.load(tmp_path / "graph")
    file.unlink()
    with pytest.raises(OSError, match=name):
        KNNGraph.load(tmp_path / "graph")


def test_indices_out_of_range_are_noticed(tmp_path, make):
    graph = knn_graph(make("normal"), 5)
    graph.indices[3, 2] = 300
    graph.save(tmp_path / "graph")
    with pytest.raises(ValueError, match="not in"):
        KNNGraph.load(tmp_path / "graph")


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("chunk_bytes", [2**16, 2**28])
def test_radius_graph_agrees_with_brute_force(points, metric, chunk_bytes, distance_matrix):
    distances = distance_matrix(points, points, metric)
    others = ~torch.eye(len(points), dtype=torch.bool)
    for quantile in (0.01, 0.3):
        radius = float(distances[others].quantile(quantile)) or 1e-20
        graph = radius_graph(points, radius, metric=metric, chunk_bytes=chunk_bytes)
        edges = (distances < radius) & others
        near = (distances - radius).abs() < 1e-12 * radius  # the root of the square may round over
        assert (graph.degrees - edges.sum(1)).abs().sum() <= near.sum()
        if not near.any():
            assert torch.equal(graph.indices.long(), edges.nonzero()[:, 1])


def test_radius_is_strict_and_rows_ascend():
    points = torch.tensor([[0.0], [1.0], [2.0], [1.0]])
    graph = radius_graph(points, 1.0)
    assert [graph.row(i).tolist() for i in range(4)] == [[], [3], [], [1]]
    wider = radius_graph(points, 1.5)
    assert [wider.row(i).tolist() for i in range(4)] == [[1, 3], [0, 2, 3], [1, 3], [0, 1, 2]]
    assert wider.indptr.tolist() == [0, 2, 5, 7, 10]
    assert (wider.indptr.dtype, wider.indices.dtype) == (torch.int64, torch.int32)
    assert len(wider) == 4


def test_radius_graph_of_nothing_and_misuse():
    empty = radius_graph(torch.empty(0, 3), 1.0)
    assert (len(empty), len(empty.indices)) == (0, 0)
    with pytest.raises(ValueError, match=r"radius=-1; wanted more than 0"):
        radius_graph(torch.zeros(3, 3), -1)
    with pytest.raises(ValueError, match="metric='l1'"):
        radius_graph(torch.zeros(3, 3), 1, metric="l1")
