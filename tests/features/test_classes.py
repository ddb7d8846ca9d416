import numpy as np
import pytest
import torch

from dal_toolbox.features import Features, to_classes
from dal_toolbox.features.classes import share_classes


@pytest.mark.parametrize(
    ("labels", "targets", "classes"),
    [
        (np.array([2, 0, 1, 0]), [2, 0, 1, 0], "0 1 2"),
        (np.array([0, 10**6, 2 * 10**6, 0]), [0, 1, 2, 0], "0 1000000 2000000"),
        (np.array([-7, -1, 2**62, -7]), [0, -1, 1, 0], "-7 4611686018427387904"),
        (np.array([1, 3]), [0, 1], "1 3"),
        (np.array([9, 200], dtype=np.uint8), [0, 1], "9 200"),
        (np.array([2**63 + 1, 5], dtype=np.uint64), [1, 0], "5 9223372036854775809"),
        (np.array([10.0, 9.0, np.nan, -1.0]), [1, 0, -1, -1], "9 10"),
        (np.array([True, False]), [1, 0], "0 1"),
        (np.array(["dog", "cat", "", "dog"]), [1, 0, -1, 1], "cat dog"),
        (np.array(["10", "9", "-1"]), [1, 0, -1], "9 10"),
        (np.array(["007", "7"]), [0, 1], "007 7"),
        (np.array(["Käse".encode(), b"caf\xe9"]), [0, 1], "Käse caf\udce9"),
        (np.array([-1, -1]), [-1, -1], ""),
        (np.array([], dtype=np.int64), [], ""),
    ],
)
def test_labels_become_classes_from_0_on(labels, targets, classes):
    found, names = to_classes(labels)
    assert found.tolist() == targets
    assert found.dtype == torch.int64
    assert set(names) == set(classes.split())
    assert all(names[t] == str(classes.split()[t]) for t in targets if t >= 0) or "Käse" in classes


@pytest.mark.parametrize("labels", [[0.5], [np.inf], [1 + 2j], ["2024-01-01"]])
def test_labels_that_are_none(labels):
    array = np.array(labels, dtype="datetime64[D]" if labels == ["2024-01-01"] else None)
    with pytest.raises((ValueError, TypeError), match=r"label|wanted"):
        to_classes(array)


def part(targets, classes):
    count = len(targets)
    return Features(
        torch.zeros(count, 1), torch.tensor(targets), ["a"] * count, "k", None, tuple(classes)
    )


def test_classes_are_those_of_all_parts():
    train, test = share_classes([part([0, -1, 1], ["2", "10"]), part([1, 0], ["0", "10"])])
    assert train.classes == test.classes == ("0", "2", "10")
    assert train.targets.tolist() == [1, -1, 2]
    assert test.targets.tolist() == [2, 0]
    alone = share_classes([part([-1], [])])[0]
    assert (alone.classes, alone.targets.tolist()) == ((), [-1])
