import numpy as np
import pytest

from dal_toolbox.active_learning import Pool


def test_order_of_acquisition_is_kept():
    pool = Pool(1000)
    pool.label(np.array([500, 3, 77]))
    pool.label([400, 9])
    assert pool.labeled.tolist() == [500, 3, 77, 400, 9]
    assert [batch.tolist() for batch in pool.history] == [[500, 3, 77], [400, 9]]
    assert pool.num_labeled == 5
    assert pool.is_labeled.sum() == 5
    assert pool.is_labeled[pool.labeled].all()
    assert pool.unlabeled.tolist() == sorted(set(range(1000)) - {500, 3, 77, 400, 9})
    assert pool.labeled.dtype == pool.unlabeled.dtype == np.int64


def test_from_history_and_empty_batches():
    pool = Pool.from_history(5, [np.array([2]), np.array([], dtype=np.int64), np.array([0])])
    assert len(pool.history) == 3
    assert pool.unlabeled.tolist() == [1, 3, 4]
    assert repr(pool) == "Pool(size=5, num_labeled=2, batches=3)"


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([1, 1], "index 1 occurs more than once"),
        ([5], r"index 5 is outside of the pool \(0 to 4\)"),
        ([-1], "index -1 is outside"),
        ([0, 3], "index 3 is labeled already"),
        ([0.5], "float64"),
        ([[0, 1]], "shape"),
        ([True, False], "bool"),
    ],
)
def test_mistakes_change_nothing(indices, message):
    pool = Pool.from_history(5, [np.array([3])])
    with pytest.raises(ValueError, match=message):
        pool.label(indices)
    assert pool.labeled.tolist() == [3]


def test_views_are_cached_until_something_is_labeled():
    pool = Pool(4)
    assert pool.unlabeled is pool.unlabeled
    indices = np.array([1, 2])
    pool.label(indices)
    indices[0] = 3  # the caller's array stays the caller's
    assert pool.labeled.tolist() == [1, 2]


def test_a_pool_holds_items():
    with pytest.raises(ValueError, match="size=0"):
        Pool(0)
