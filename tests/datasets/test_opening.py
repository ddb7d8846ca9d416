"""Images made ready for use: what is kept about them."""

import shutil

import numpy as np
import pytest

from dal_toolbox.datasets import ImageFiles, open_images
from dal_toolbox.datasets._sealed import read_sealed, write_sealed
from dal_toolbox.datasets.opening import pixel_statistics


@pytest.fixture
def files(class_folders):
    names = sorted(
        path.relative_to(class_folders).as_posix() for path in class_folders.rglob("*.*")
    )
    return ImageFiles(class_folders, names, np.zeros(len(names)), 8)


@pytest.fixture
def statistics(files, tmp_path):
    return lambda: pixel_statistics(open_images(files, tmp_path, 0), tmp_path)


def test_damaged_statistics_are_computed_anew(statistics, tmp_path, caplog):
    expected = statistics()
    (stored,) = (tmp_path / "packed").glob("*/statistics-*.json")
    sound, facts = stored.read_bytes(), read_sealed(stored)
    unsealed = [b"", b"[]", b"{", b"5", b"[" * 10_000, sound[:-9], sound.replace(b"0.", b"1.")]
    unsealed.append(b'{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}')
    wrong = [None, "x", 0.5, [], [0.5], [0.5] * 4, [None] * 3, [[]] * 3, [2, 2, 2], [-1, 0.5, 0.5]]
    for content in [*unsealed, *({key: value} for value in wrong for key in facts)]:
        caplog.clear()
        if isinstance(content, bytes):
            stored.write_bytes(content)
        else:
            write_sealed(stored, {**facts, **content})
        assert statistics() == expected
        assert f"{stored} is computed anew" in caplog.text
        assert stored.read_bytes() == sound


def test_statistics_that_cannot_be_kept(statistics, tmp_path, caplog):
    expected = statistics()
    shutil.rmtree(tmp_path / "packed/statistics")
    (tmp_path / "packed/statistics").write_text("in the way")
    assert statistics() == expected
    assert "statistics of the pixels cannot be kept" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pack": "sometimes"}, "pack='sometimes': choose one of auto, always, never"),
        ({"pack_bytes": -1}, "pack_bytes=-1: must be an integer of at least 0"),
        ({"pack_bytes": 1.5}, "pack_bytes=1.5: must be an integer of at least 0"),
    ],
)
def test_options_are_checked_in_their_own_words(files, tmp_path, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        open_images(files, tmp_path, 0, **options)
    assert not (tmp_path / "packed").exists()
