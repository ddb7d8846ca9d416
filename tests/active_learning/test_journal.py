"""The journal: labels belong to items, are checked before they are written, and are never lost."""

import hashlib
import json

import numpy as np
import pytest

from dal_toolbox.active_learning.journal import Journal
from dal_toolbox.active_learning.oracles import JournaledOracle
from dal_toolbox.active_learning.records import CycleResult, append_result, read_results, resumable
from dal_toolbox.errors import UserError


class Things:
    """Items by name; the content is that of a dict."""

    def __init__(self, **contents):
        self.names = list(contents)
        self.contents = contents

    def content(self, indices):
        return [
            hashlib.sha256(self.contents[self.names[i]].encode()).hexdigest()[:16] for i in indices
        ]


ABC = Things(a="1", b="2", c="3")
CLASSES = ["cat", "dog"]


def told(path, items=ABC, classes=CLASSES):
    journal = Journal(path, items=items, classes=classes)
    journal.tell(np.array([2, 0]), [1, 0])
    return journal


def test_labels_follow_their_items(tmp_path):
    told(tmp_path / "j")
    more = Things(**{"0": "new", **ABC.contents, "z": "new"})
    assert Journal(tmp_path / "j", items=more, classes=CLASSES).labels == {3: 1, 1: 0}


def test_labels_follow_their_classes(tmp_path):
    told(tmp_path / "j")
    journal = Journal(tmp_path / "j", items=ABC, classes=["bird", "cat", "dog"])
    assert journal.labels == {2: 2, 0: 1}
    journal = Journal(tmp_path / "j", items=ABC, classes=[])  # a person named them
    assert journal.classes == ["dog", "cat"]


def test_other_content_under_a_known_name_is_refused(tmp_path):
    told(tmp_path / "j")
    with pytest.raises(UserError, match=r"j, line 1: 'c' has another content"):
        Journal(tmp_path / "j", items=Things(a="1", b="2", c="9"), classes=CLASSES)


def test_an_item_that_is_gone_is_named(tmp_path):
    told(tmp_path / "j")
    with pytest.raises(UserError, match=r"'c' was asked for or labeled .* not in the pool now \(2"):
        Journal(tmp_path / "j", items=Things(a="1", b="2"), classes=CLASSES)


def test_names_must_differ(tmp_path):
    items = Things(a="1", b="2")
    items.names = ["a", "a"]
    with pytest.raises(UserError, match="two items are named 'a'"):
        Journal(tmp_path / "j", items=items)


def test_the_last_label_counts(tmp_path):
    journal = told(tmp_path / "j")
    journal.tell(np.array([2]), [-1])
    journal.tell(np.array([0]), [1])
    again = Journal(tmp_path / "j", items=ABC, classes=CLASSES)
    assert again.labels == journal.labels == {2: -1, 0: 1}
    assert again.told == {2: {1, -1}, 0: {0, 1}}


@pytest.mark.parametrize("bad", [2, -2, 10**30, 1.0, 3.9, True, "cat", None, float("nan")])
def test_a_bad_answer_is_refused_and_the_others_are_kept(tmp_path, bad):
    class Person:
        def label(self, indices):
            answers = np.empty(len(indices), dtype=object)
            answers[:] = [1, bad, 0]
            return answers

    with pytest.raises(UserError, match=r"oracle Person: label .* of item 'b' is no class"):
        JournaledOracle(Person(), Journal(tmp_path / "j", items=ABC, classes=CLASSES),
                        batch_size=None).label(np.array([0, 1, 2]))  # fmt: skip

    class Mended:
        def label(self, indices):
            assert indices.tolist() == [1]
            return np.array([1])

    journal = Journal(tmp_path / "j", items=ABC, classes=CLASSES)
    assert JournaledOracle(Mended(), journal).label(np.array([0, 1, 2])).tolist() == [1, 1, 0]


@pytest.mark.parametrize("answer", [[1], [[1, 1, 0]], 3, None])
def test_answers_of_another_shape_are_refused(tmp_path, answer):
    class Person:
        def label(self, indices):
            return answer

    oracle = JournaledOracle(Person(), tmp_path / "j", batch_size=None)
    with pytest.raises(UserError, match="oracle Person gave answers of shape"):
        oracle.label(np.array([0, 1, 2]))


def test_an_oracle_that_fails_is_named_with_its_line(tmp_path):
    class Person:
        def label(self, indices):
            raise KeyError("no such drawer")

    oracle = JournaledOracle(Person(), tmp_path / "j")
    with pytest.raises(UserError, match=r"oracle Person failed: KeyError.*test_journal.py, line"):
        oracle.label(np.array([0]))


@pytest.mark.parametrize(
    "line",
    [
        '{"index": 0, "label": 3.9}',
        '{"index": 0, "label": 1.0}',
        '{"index": 0, "label": true}',
        '{"index": 0, "label": null}',
        '{"index": 0, "label": "1"}',
        '{"index": 0, "label": -2}',
        '{"index": -1, "label": 0}',
        '{"index": true, "label": 0}',
        '{"index": 0.0, "label": 0}',
        '{"label": 0}',
        '{"asked": 3}',
        '{"asked": [0.5]}',
        '{"asked": [0], "names": []}{',
        '{"asked": [0, 1], "names": ["a"]}',
        '{"index": 7, "label": 0}',
        '{"index": 0, "label": 5}',
        "nonsense",
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_written(tmp_path, line):
    path = tmp_path / "labels.jsonl"
    told(path)
    with path.open("a") as file:
        file.write(line + "\n")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"labels.jsonl, line 3"):
        Journal(path, items=ABC, classes=CLASSES)
    assert path.read_bytes() == before


# Results and journal.


def result(*queried, labels, names=(), cycle=0):
    return CycleResult(cycle, queried, labels, len(queried), {}, {}, names)


def test_results_get_the_rows_and_labels_of_now(tmp_path):
    journal = told(tmp_path / "j")
    journal.tell(np.array([0]), [1])  # corrected
    grown = Journal(tmp_path / "j", items=Things(**{"0": "n", **ABC.contents}), classes=CLASSES)
    (now,) = resumable([result(2, 0, labels=(1, 0), names=("c", "a"))], grown, tmp_path / "r")
    assert (now.queried, now.labels) == ((3, 1), (1, 1))


@pytest.mark.parametrize("changed", [result(2, 0, labels=(0, 0)), result(1, labels=(1,))])
def test_results_that_contradict_the_journal_are_refused(tmp_path, changed):
    with pytest.raises(UserError, match=r"results.jsonl, line 1: label . of item . is not in"):
        resumable([changed], told(tmp_path / "j"), tmp_path / "results.jsonl")


GOOD = json.loads(result(5, 6, labels=(0, 1)).to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"queried": [5, 5]},
        {"queried": [-5, 6]},
        {"queried": [5.0, 6]},
        {"queried": [True, 6]},
        {"queried": [5]},
        {"labels": [0, 1.5]},
        {"labels": [0, True]},
        {"labels": [0, -2]},
        {"cycle": 3},
        {"cycle": -1},
        {"num_labeled": "2"},
        {"metrics": None},
        {"metrics": {"accuracy": "high"}},
        {"names": ["a"]},
        {"names": [1, 2]},
        {"seconds": []},
        {"other": 1},
    ],
)
def test_damaged_results_are_named(tmp_path, change):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({**GOOD, **change}) + "\n")
    with pytest.raises(UserError, match=r"results.jsonl, line 1"):
        read_results(path)


def test_an_item_in_two_results_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, result(5, 6, labels=(0, 1)))
    append_result(path, result(7, 6, labels=(0, 1), cycle=1))
    with pytest.raises(UserError, match="line 2 holds item 6 a second time"):
        read_results(path)
