"""A person who answers by a table."""

import numpy as np
import pytest

from dal_toolbox.active_learning.journal import Journal
from dal_toolbox.active_learning.oracles.file import FileOracle, LabelsWanted
from dal_toolbox.errors import UserError

NAMES = ["cat, big.jpg", 'a "b".jpg', "new\nline.jpg", "caf\udce9.jpg", "[x]=\u202e.jpg"]


@pytest.fixture
def oracle(tmp_path):
    return FileOracle(tmp_path, NAMES, lambda name: None)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "labels.jsonl", classes=["dog"])


def test_what_is_written_is_read(oracle, journal):
    oracle.write(range(5), dict.fromkeys(range(5), "dog"))
    assert oracle.read(journal) == 5
    assert journal.labels == dict.fromkeys(range(5), 0)
    assert oracle.read(journal) == 0  # told already


def test_it_waits_for_what_is_not_answered(oracle):
    with pytest.raises(LabelsWanted) as wanted:
        oracle.label(np.array([3, 1]))
    assert wanted.value.indices.tolist() == [3, 1]


def test_new_classes_skipped_items_and_corrections(oracle, journal, caplog):
    oracle.write([0, 1, 3], {0: "dig", 1: "?", 3: ""})
    caplog.set_level("INFO", logger="dal_toolbox")
    assert oracle.read(journal) == 2
    assert journal.classes == ["dog", "dig"]
    assert journal.labels == {0: 1, 1: -1}
    assert "new class 'dig' (is it 'dog'?)" in caplog.text
    with oracle.file.open("a") as file:
        file.write('"cat, big.jpg",dog,\n')
    assert oracle.read(journal) == 1
    assert journal.labels == {0: 0, 1: -1}


def test_a_table_in_latin_1(tmp_path):
    oracle = FileOracle(
        tmp_path, ["Käse.jpg", "caf\udce9.jpg", "two\udcfc.jpg", "twoü.jpg"], lambda name: None
    )
    journal = Journal(tmp_path / "labels.jsonl", classes=["crème"])
    table = "file,label\nKäse.jpg,crème\ncafé.jpg,crème\ntwoü.jpg,crème\n"
    oracle.file.write_bytes(table.encode("latin-1"))
    assert oracle.read(journal) == 3
    assert journal.labels == {0: 0, 1: 0, 2: 0}
    assert journal.classes == ["crème"]
    oracle.file.write_text(table)
    assert oracle.read(journal) == 1
    assert journal.labels == {0: 0, 1: 0, 2: 0, 3: 0}


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile;label;path\r\ncat, big.jpg;dog;\r\n",
        "file\tlabel\r\ncat, big.jpg\tdog\r\n",
        'label,file\ndog,"cat, big.jpg"\n\n',
        'file,label\n"cat, big.jpg", dog \n',
        'file,label,path\n"cat, big.jpg",dog,\n,,\n',
    ],
)
def test_tables_of_spreadsheets(oracle, journal, text):
    oracle.file.write_text(text, newline="")
    assert oracle.read(journal) == 1
    assert journal.labels == {0: 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\ncat big.jpg,dog\n", "line 2: no item 'cat big.jpg'. Did you mean 'cat, big"),
        ("name,class\na,b\n", "needs the columns file and label"),
        ("", "needs the columns file and label"),
    ],
)
def test_a_table_that_does_not_fit_is_named(oracle, journal, text, message):
    oracle.file.write_text(text)
    with pytest.raises(UserError, match=message):
        oracle.read(journal)
    assert not journal.path.exists()
