import numpy as np
import pytest

from dal_toolbox.files import atomic_directory, load_array, remove_leftovers


def test_a_directory_is_there_in_full_or_not_at_all(tmp_path):
    path = tmp_path / "entry"
    with pytest.raises(RuntimeError), atomic_directory(path) as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with atomic_directory(path) as temporary:
            (temporary / "a").write_text(text)
            assert not path.exists() or (path / "a").read_text() == "first"
        assert (path / "a").read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed(tmp_path):
    path = tmp_path / "entry"
    for name in ("entry", ".entry.1a", ".entry.1a.old", ".entry2.1a", "other"):
        (tmp_path / name).mkdir()
    remove_leftovers(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".entry2.1a", "entry", "other"]


def test_a_mapped_array_cannot_reach_its_file(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(4.0))
    array = load_array(tmp_path / "x.npy")
    array[0] = 7
    assert load_array(tmp_path / "x.npy").tolist() == [0, 1, 2, 3]
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match="mmap"):
        load_array(tmp_path / "x.npy")
    with pytest.raises(OSError):
        load_array(tmp_path / "y.npy")
