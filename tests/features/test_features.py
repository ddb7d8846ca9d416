import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dal_toolbox.errors import UserError
from dal_toolbox.features import Features, raw_features
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
def test_a_damaged_graph_is_named_and_computed_anew(stored, computed, caplog, damages, file):
    expected = stored.neighbors(5)
    path = stored.directory / "neighbors" / "cosine" / file
    content = path.read_bytes()
    variants = {"gone": None, **damages(content)}
    for what, damaged in variants.items():
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "dal_toolbox"):
            graph = fresh(stored).neighbors(5)
        assert torch.equal(graph.indices, expected.indices), what
        assert "damaged kNN graph, computed anew" in caplog.text, what
        assert path.read_bytes() == content, what
    assert len(computed) == 1 + len(variants)


def test_a_graph_of_other_features_is_not_taken(stored, computed, caplog, tmp_path):
    stored.neighbors(5)
    other = replace(stored, values=torch.randn(60, 7), directory=tmp_path / "other")
    shutil.copytree(stored.directory / "neighbors", other.directory / "neighbors")
    with caplog.at_level(logging.WARNING, "dal_toolbox"):
        graph = other.neighbors(5)
    assert torch.equal(graph.indices, knn_graph(other.values, 5, metric="cosine").indices)
    assert "computed from" in caplog.text


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


def test_content_says_what_an_item_is(features, images):
    for whole in (features, raw_features(images)):
        digests = whole.content(np.arange(len(whole)))
        assert len(set(digests)) == len(whole)
        assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)
        order = np.array([5, 2, 9, 2])
        assert whole.content(order) == [digests[row] for row in order]
        assert whole.subset(order).content(np.array([1, 3])) == [digests[2]] * 2
        assert whole.content(np.arange(0)) == []


def test_content_is_that_of_the_image_and_not_of_its_place(images):
    before = raw_features(images)
    order = np.random.default_rng(0).permutation(len(images))
    after = raw_features(images.subset(order))
    assert before.content(order) == after.content(np.arange(len(images)))
    changed = images.images.clone()
    changed[4, 0, 0, 0] ^= 1
    other = raw_features(type(images)(changed, images.targets, images.names))
    pairs = zip(before.content(order), other.content(order), strict=True)
    assert [row for row, (a, b) in zip(order, pairs, strict=True) if a != b] == [4]


def test_content_reads_only_what_is_asked_for(images):
    asked = []

    def batch(rows):
        asked.append(rows.tolist())
        return images.batch(rows)

    features = replace(raw_features(images), items=batch)
    features.content(np.array([3, 1]))
    assert asked == [[3, 1]]


def test_the_labeled_part(features):
    assert features.labeled() is features
    targets = features.targets.clone()
    targets[::2] = -1
    part = replace(features, targets=targets).labeled()
    assert part.names == [str(i) for i in range(1, 60, 2)]
    assert torch.equal(part.values, features.values[1::2])
    assert part.key != features.key
    assert part.directory is None
