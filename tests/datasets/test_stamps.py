import os

import numpy as np
import pytest

from dal_toolbox.datasets import _stamps
from dal_toolbox.datasets._stamps import file_stamps


@pytest.fixture
def names(tmp_path):
    for row in range(25):
        (tmp_path / f"{row}.jpg").write_bytes(bytes(row))
        os.utime(tmp_path / f"{row}.jpg", ns=(0, 10**18 + row))
    return [f"{row}.jpg" for row in range(25)]


@pytest.mark.parametrize("slow", [0, 1])
@pytest.mark.parametrize("many", [3, 100])
def test_size_and_time_of_each_file(tmp_path, names, monkeypatch, slow, many):
    monkeypatch.setattr(_stamps, "CHUNK", 4)
    monkeypatch.setattr(_stamps, "SLOW", slow)
    monkeypatch.setattr(_stamps, "MANY", many)
    rows = np.arange(25)
    assert (file_stamps(tmp_path, names) == np.stack([rows, 10**18 + rows], axis=1)).all()
    assert file_stamps(tmp_path, []).shape == (0, 2)


def test_missing_files(tmp_path, names):
    with pytest.raises(FileNotFoundError):
        file_stamps(tmp_path, [*names, "none.jpg"])
    stamps = file_stamps(tmp_path, ["none.jpg", *names], missing_ok=True)
    assert stamps[0].tolist() == [-1, -1]
    assert (stamps[1:, 0] == np.arange(25)).all()
