import json

import numpy as np
import pytest

from dal_toolbox.active_learning.oracles import ORACLES, JournaledOracle
from dal_toolbox.errors import UserError
from dal_toolbox.io import read_lines


class Guarded:
    """Targets of which only some may be read."""

    def __init__(self, targets: np.ndarray, allowed: list[int]) -> None:
        self.targets, self.allowed = targets, set(allowed)

    def __getitem__(self, indices):
        assert set(np.asarray(indices).tolist()) <= self.allowed, "an unlabeled target was read"
        return self.targets[indices]

    def __array__(self, *args, **options):
        raise AssertionError("all targets were read")


class Person:
    """Breaks down before one of the items."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.stop_at = stop_at

    def label(self, indices):
        if self.stop_at in indices.tolist():
            raise KeyboardInterrupt
        self.asked += indices.tolist()
        return indices % 3


def test_simulated_reads_what_is_asked_for():
    oracle = ORACLES.build("simulated", targets=Guarded(np.arange(10) % 4, [7, 2, 5]))
    labels = oracle.label(np.array([7, 2]))
    assert labels.tolist() == [3, 2]
    assert labels.dtype == np.int64
    oracle.label(np.array([5]))
    assert oracle.num_labels == 3
    with pytest.raises(AssertionError, match="unlabeled target"):
        oracle.label(np.array([0]))


def test_an_unknown_target_is_an_error():
    oracle = ORACLES.build("simulated", targets=np.array([0, -1, 2]))
    with pytest.raises(UserError, match="item 1 has no known class"):
        oracle.label(np.array([0, 1]))
    assert oracle.num_labels == 0


def test_journal_survives_a_breakdown(tmp_path):
    path = tmp_path / "labels.jsonl"
    with pytest.raises(KeyboardInterrupt):
        JournaledOracle(Person(stop_at=8), path).label(np.array([4, 6, 8, 1]))
    again = Person()
    oracle = JournaledOracle(again, path)
    assert oracle.label(np.array([4, 6, 8, 1])).tolist() == [1, 0, 2, 1]
    assert again.asked == [8, 1]
    assert oracle.label(np.array([8, 4])).tolist() == [2, 1]
    assert again.asked == [8, 1]
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["index"] for event in events if "index" in event] == [4, 6, 8, 1]
    assert [event["asked"] for event in events if "asked" in event] == [[4, 6, 8, 1], [8, 4]]


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_batches_of_questions(tmp_path, batch_size):
    oracle = JournaledOracle(Person(), tmp_path / "labels.jsonl", batch_size=batch_size)
    assert oracle.label(np.array([5, 4, 3])).tolist() == [2, 1, 0]
    assert oracle.label(np.array([], dtype=np.int64)).shape == (0,)


def test_a_torn_answer_is_asked_again(tmp_path, caplog):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"index": 3, "label": 1}\n{"index": 4, "la')
    person = Person()
    oracle = JournaledOracle(person, path)
    assert "middle of a line" in caplog.text
    assert oracle.label(np.array([3, 4])).tolist() == [1, 1]
    assert person.asked == [4]
    events = [{"index": 3, "label": 1}, {"asked": [3, 4]}, {"index": 4, "label": 1}]
    assert read_lines(path) == events


def test_a_foreign_file_is_no_journal(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"cycle": 3}\n')
    with pytest.raises(UserError, match="not an index and a label"):
        JournaledOracle(Person(), path)
