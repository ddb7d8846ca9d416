"""Kill -9 at any moment: the same command again ends with the results of an undisturbed run."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
TIMES = ("seconds", "images_per_second", "data_wait", "augmentation")


def kill_when(root, name, options, reached):
    """Starts a main and kills it as soon as ``reached()``."""
    command = [sys.executable, str(root / "experiments" / name / "main.py"), *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ})
    deadline = time.monotonic() + 200
    while not reached() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"


def num_lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def metrics(folder):
    rows = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def test_pretraining(run_main, ssl_options, pytestconfig, tmp_path):
    options = [*ssl_options, "model.n_epochs=12"]
    whole, half = tmp_path / "whole", tmp_path / "half"
    run_main("ssl", *options, f"output_dir={whole}")
    options.append(f"output_dir={half}")
    for rows in (3, 8):
        kill_when(
            pytestconfig.rootpath, "ssl", options,
            lambda rows=rows: num_lines(half / "metrics.csv") >= rows + 2,
        )  # fmt: skip
    run_main("ssl", *options)
    assert metrics(whole) == metrics(half)
    a, b = (load_file(folder / "encoder.safetensors") for folder in (whole, half))
    assert all(a[name].equal(b[name]) for name in a)


def test_cycles(run_main, pytestconfig, tmp_path):
    options = ["dataset=digits", "features=raw", "strategy=typiclust", "num_cycles=30"]
    whole, half = tmp_path / "whole", tmp_path / "half"
    run_main("active_learning", *options, f"output_dir={whole}")
    options.append(f"output_dir={half}")
    for rows in (2, 9):
        kill_when(
            pytestconfig.rootpath, "active_learning", options,
            lambda rows=rows: num_lines(half / "results.jsonl") >= rows,
        )  # fmt: skip
    run_main("active_learning", *options)
    for a, b in zip(
        *[(f / "results.jsonl").read_text().splitlines() for f in (whole, half)], strict=True
    ):
        first, second = ({**json.loads(line), "seconds": None, "crc": None} for line in (a, b))
        assert first == second
