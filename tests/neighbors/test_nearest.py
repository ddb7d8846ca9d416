import numpy as np
import pytest
import torch

from dal_toolbox.errors import UserError
from dal_toolbox.neighbors import _nearest, nearest_center, squared_distances
from dal_toolbox.neighbors._distinct import Distinct


@pytest.mark.parametrize("entries", [10, 2**20])
@pytest.mark.parametrize("num_centers", [1, 2, 20])
def test_nearest_center_equals_brute_force(entries, num_centers, points, monkeypatch, brute_force):
    monkeypatch.setattr(_nearest, "ENTRIES", entries)
    centers = points.double()[torch.arange(num_centers) * 7 % len(points)]
    centers[1:] += 0.1 * (centers[1:] - centers[:-1])
    centers[-1] = centers[0]  # equals: the lower one
    expected = brute_force(points, centers, 1)[1].squeeze(1)
    assert torch.equal(nearest_center(points, centers), expected)
    some = torch.tensor([5, 2, 250])
    assert torch.equal(nearest_center(points, centers, rows=some), expected[some])
    squared = (points.double() - centers[expected]).square().sum(dim=1)
    for items in (points, points.double()):
        before = items.clone()
        assert torch.allclose(squared_distances(items, centers, expected), squared, rtol=1e-12)
        assert torch.equal(items, before)


def test_what_float32_cannot_tell():
    rng = np.random.default_rng(0)
    items = torch.from_numpy(rng.normal(size=(2000, 64))).float()
    center = torch.from_numpy(rng.normal(size=64))
    centers = center + 1e-5 * torch.from_numpy(rng.normal(size=(5, 64)))
    expected = torch.cdist(items.double(), centers, compute_mode="donot_use_mm_for_euclid_dist")
    naive = torch.cdist(items, centers.float(), compute_mode="use_mm_for_euclid_dist")
    assert torch.equal(nearest_center(items, centers), expected.argmin(1))
    assert (naive.argmin(1) == expected.argmin(1)).float().mean() < 0.99


def test_chunks_and_threads_do_not_matter(make):
    points = make("grid", n=3000)
    expected = nearest_center(points, points[:50] + 0.5)
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = nearest_center(points, points[:50] + 0.5, chunk_bytes=2**12)
        assert torch.equal(found, expected)
    torch.set_num_threads(before)


def test_nan_is_refused():
    with pytest.raises(UserError, match="NaN"):
        nearest_center(torch.tensor([[1.0], [float("nan")]]), torch.tensor([[0.0], [1.0]]))


def test_no_items():
    assert nearest_center(torch.zeros(0, 3), torch.ones(2, 3)).tolist() == []


@pytest.mark.parametrize("collide", [False, True])
def test_distinct_rows_equal_those_of_a_dictionary(collide, points, monkeypatch):
    if collide:
        zeros = lambda rows: torch.zeros(len(rows), dtype=torch.int64)  # noqa: E731
        monkeypatch.setattr("dal_toolbox.neighbors._distinct._hashes", zeros)
    rows = torch.cat([points, points[:50], -points[:50]]).float()
    seen: dict[tuple, int] = {}
    which = [seen.setdefault(tuple(row), len(seen)) for row in (rows + 0.0).tolist()]
    distinct = Distinct.of(rows)
    assert distinct.which.tolist() == which
    assert torch.equal(rows[distinct.first] + 0.0, torch.tensor(list(seen)))
    assert distinct.add(torch.ones(len(rows))).tolist() == np.bincount(which).tolist()
