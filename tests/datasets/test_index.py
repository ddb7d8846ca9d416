import logging
import os

import pytest

from dal_toolbox.datasets import DatasetNotFound, _index
from dal_toolbox.datasets._index import scan, survey


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    for name in ["b/2.jpg", "b/1.JPG", "a/deep/er/x y.png", "top.jpg", "a/notes.md", "b/.h.jpg"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "empty").mkdir()
    (root / "b" / os.fsdecode(b"\xff.png")).touch()  # no valid UTF-8
    settle(root)
    return root


def settle(root, seconds=1000):
    for folder, _, _ in os.walk(root):
        os.utime(folder, ns=(0, seconds * 10**9))


@pytest.fixture(autouse=True)
def _keep_small_lists(monkeypatch):
    monkeypatch.setattr(_index, "MANY", 3)


def is_listed_anew(root, cache_dir, caplog):
    caplog.clear()
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        assert scan(root, cache_dir) == scan(root)
    return "taken from" not in caplog.text


def test_folders_and_their_images(tree):
    found = scan(tree)
    assert list(found) == ["", "a/deep/er", "b"]
    assert found["b"] == ["b/1.JPG", "b/2.jpg", "b/\udcff.png"]
    assert found[""] == ["top.jpg"]


def test_the_list_is_kept(tree, tmp_path, caplog):
    cache = tmp_path / "index"
    assert is_listed_anew(tree, cache, caplog)
    assert not is_listed_anew(tree, cache, caplog)
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize("change", ["add", "remove", "rename", "folder", "deep"])
def test_a_change_is_noticed(tree, tmp_path, caplog, change):
    cache = tmp_path / "index"
    scan(tree, cache)
    if change == "add":
        (tree / "b/3.jpg").touch()
    elif change == "remove":
        (tree / "b/2.jpg").unlink()
    elif change == "rename":
        (tree / "b").rename(tree / "c")
    elif change == "folder":
        (tree / "empty/new").mkdir()
    else:
        (tree / "a/deep/1.jpg").touch()
    assert is_listed_anew(tree, cache, caplog)


def test_a_folder_that_may_still_change_is_not_kept(tree, tmp_path, caplog):
    (tree / "b/new.jpg").touch()
    assert is_listed_anew(tree, tmp_path / "index", caplog)
    assert is_listed_anew(tree, tmp_path / "index", caplog)


def test_small_folders_are_not_kept(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(_index, "MANY", 100)
    scan(tree, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_two_roots_do_not_meet(tree, tmp_path, caplog):
    scan(tree, tmp_path / "index")
    assert list(scan(tree / "b", tmp_path / "index")) == [""]
    assert not is_listed_anew(tree, tmp_path / "index", caplog)


def test_only_the_folders_that_are_asked_for(tree, tmp_path, caplog):
    cache = tmp_path / "index"
    assert list(scan(tree, cache, ["b", "a"])) == ["b"]  # nothing lies in a itself
    (tree / "other").mkdir()
    with caplog.at_level(logging.INFO, "dal_toolbox"):
        assert scan(tree, cache, ["b"])["b"] == scan(tree)["b"]
        assert "taken from" not in caplog.text
        scan(tree, cache, ["b", "a"])
        assert "taken from" in caplog.text
    with pytest.raises(DatasetNotFound, match="cannot read .*missing"):
        scan(tree, cache, ["b", "missing"])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\x00" * 50, b'{"format": 2}', b"null", None]
)
def test_a_damaged_index_is_made_anew(tree, tmp_path, caplog, content):
    cache = tmp_path / "index"
    scan(tree, cache)
    (file,) = cache.glob("*.json")
    if content is None:  # lists that are no lists
        content = file.read_bytes().replace(b'"images": {', b'"images": {"x": 3, ')
    file.write_bytes(content)
    assert is_listed_anew(tree, cache, caplog)
    assert not is_listed_anew(tree, cache, caplog)


def test_everything_is_kept(tree, tmp_path):
    (tree / "b/loop").symlink_to(tree)
    (tree / "lost+found").mkdir()
    settle(tree)
    first = survey(tree, tmp_path / "index")
    assert set(first.left_out) == {"b/loop", "lost+found"}
    assert first.others == {"a": {".md": 1}}
    assert survey(tree, tmp_path / "index") == first == survey(tree)


def test_a_folder_that_took_the_place_of_another_is_noticed(tree, tmp_path, caplog):
    cache = tmp_path / "index"
    scan(tree, cache)
    (tree / "b").rename(tree / "c")
    (tree / "b").mkdir()
    (tree / "b/other.jpg").touch()
    settle(tree)
    assert is_listed_anew(tree, cache, caplog)


def test_an_index_that_cannot_be_written(tree, tmp_path, caplog):
    (tmp_path / "index").write_text("in the way")
    assert scan(tree, tmp_path / "index" / "deeper") == scan(tree)
    assert "cannot be written" in caplog.text
