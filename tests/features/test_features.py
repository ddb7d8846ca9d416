import logging
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.errors import UserError
from dal_toolbox.features import Features
from dal_toolbox.features import features as module
from dal_toolbox.neighbors import knn_graph


@pytest.fixture
def computed(monkeypatch):
    """The k of every graph that is computed."""
    asked = []

    def counting(values, k, **options):
        asked.append(k)
        return knn_graph(values, k, **options)

    monkeypatch.setattr(module, "knn_graph", counting)
    return asked


@pytest.fixture
def stored(features, tmp_path):
    return replace(features, directory=tmp_path)


def fresh(features):
    """As another process sees it: nothing in memory."""
    return replace(features)


def test_normalized_once_in_float32(features):
    half = replace(features, values=features.values.half())
    half.values[3] = 0
    normalized = half.normalized()
    assert normalized is half.normalized()
    assert normalized.dtype == torch.float32
    assert torch.equal(normalized, F.normalize(half.values.float(), dim=1))
    assert torch.equal(normalized[3], torch.zeros(7))


def test_normalizing_leaves_the_values_alone(features):
    before = features.values.clone()
    features.normalized()
    assert torch.equal(features.values, before)


@pytest.mark.parametrize("kept", [True, False])
def test_one_graph_serves_smaller_ones(features, tmp_path, computed, kept):
    features = replace(features, directory=tmp_path if kept else None)
    for k in (10, 4, 10, 12, 3):
        graph = features.neighbors(k)
        expected = knn_graph(features.values, k, metric="cosine")
        assert torch.equal(graph.indices, expected.indices)
        assert torch.equal(graph.distances, expected.distances)
    assert computed == [10, 12]


def test_the_graph_is_kept_on_disk(stored, computed):
    graph = stored.neighbors(10)
    again = fresh(stored).neighbors(6)
    assert torch.equal(again.indices, graph.indices[:, :6])
    assert computed == [10]
    fresh(stored).neighbors(15)
    fresh(stored).neighbors(12)
    assert computed == [10, 15]
    assert sorted(p.name for p in (stored.directory / "neighbors").iterdir() if p.is_dir()) == [
        "cosine"
    ]


@pytest.mark.parametrize("file", ["graph.json", "indices.npy", "distances.npy"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_a_damaged_graph_is_computed_anew(stored, computed, caplog, file, damage):
    stored.neighbors(5)
    path = stored.directory / "neighbors" / "cosine" / file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-30] if damage == "cut" else b"")
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        graph = fresh(stored).neighbors(5)
    assert "damaged kNN graph" in caplog.text
    assert torch.equal(graph.indices, stored.neighbors(5).indices)
    fresh(stored).neighbors(5)
    assert computed == [5, 5]


def test_a_graph_of_other_items_is_not_taken(stored, computed, caplog):
    stored.neighbors(5)
    fewer = Features(
        stored.values[:50], stored.targets[:50], stored.names[:50], "k", stored.directory
    )
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        assert len(fewer.neighbors(5)) == 50
    assert "kNN graph of 60 items" in caplog.text


def test_what_a_killed_writer_left_is_cleared_away(stored):
    leftover = stored.directory / "neighbors" / ".cosine.1234"
    leftover.mkdir(parents=True)
    stored.neighbors(3)
    assert not leftover.exists()


def test_a_place_that_cannot_be_written_to(stored, caplog):
    (stored.directory / "neighbors").write_text("a file is in the way")
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        assert stored.neighbors(3).k == 3
    assert "cannot be kept" in caplog.text


def test_errors(features):
    with pytest.raises(UserError, match="k=60 neighbors asked of 60 items"):
        features.neighbors(60)
    with pytest.raises(ValueError, match="features, targets and names are 60, 59 and 60"):
        replace(features, targets=features.targets[:59])
