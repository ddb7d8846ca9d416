"""Every file of every official dataset that is no image, replaced by what it should not be."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from dal_toolbox.datasets import DATASETS, DatasetBundle
from dal_toolbox.datasets._listing import is_image
from dal_toolbox.errors import UserError

OFFICIAL = runpy.run_path(str(Path(__file__).with_name("official.py")))
BUILD = runpy.run_path(str(Path(__file__).with_name("test_parameters.py")))["build"]
NAMES = [name for name in DATASETS if name not in ("digits", "folder")]


def replace(path, content):
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def flipped(content):
    damaged = bytearray(content)
    for place in np.random.default_rng(0).integers(0, len(content), 20):
        damaged[place] ^= 1 << int(place) % 8
    return bytes(damaged)


DAMAGES = {
    "nothing": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "more": lambda content: content + b"\0more",
    "noise": lambda content: np.random.default_rng(0).bytes(len(content)),
    "zeros": lambda content: bytes(len(content)),
    "flipped bits": flipped,
    "text": lambda content: b"text \xe9 \x1b[31m\n" * 20,
    "other lines": lambda content: b"../../outside.jpg\n" * 3,
    "deep nesting": lambda content: b"[" * 100_000,
    "huge numbers": lambda content: b"99999999999999999999999\n" * 10,
    "twice": lambda content: content * 2,
}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_read_or_named(name, tmp_path):
    """No traceback, no crash, one line that names the file or its folder."""
    OFFICIAL["MAKE"][name](tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not is_image(path.name)]
    for path in files:
        content = path.read_bytes()
        for damage in DAMAGES.values():
            replace(path, damage(content))
            check(name, tmp_path)
        path.unlink()
        check(name, tmp_path)
        path.mkdir()
        check(name, tmp_path)
        path.rmdir()
        path.symlink_to(path)
        check(name, tmp_path)
        path.unlink()
        path.write_bytes(content)
        shutil.rmtree(tmp_path / "packed", ignore_errors=True)


def check(name, path):
    try:
        bundle = BUILD(name, path, pack="never")
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        assert "weights_only" not in str(error)
    else:
        assert isinstance(bundle, DatasetBundle)
        for images in (bundle.train, bundle.test):
            assert 0 <= images.targets.min() <= images.targets.max() < bundle.num_classes
