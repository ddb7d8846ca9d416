"""Runs the mains as a user does."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dal_toolbox.config.parts import CONFIGS, GROUPS, mirror, plain

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def run_main():
    """Runs ``experiments/<name>/main.py`` with overrides; returns the finished process."""

    def run(name, *overrides, cwd=ROOT, status=0):
        script = ROOT / "experiments" / name / "main.py"
        process = subprocess.run(
            [sys.executable, str(script), *map(str, overrides)],
            cwd=cwd, capture_output=True, text=True, timeout=300,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert process.returncode == status, process.stdout + process.stderr
        return process

    return run


@pytest.fixture(scope="session")
def ssl_options():
    """A tiny SimCLR on digits."""
    return (
        "ssl_model=simclr", "dataset=digits", "model.encoder=small", "encoder.width=8",
        "model.n_epochs=2", "model.train_batch_size=256", "ssl_val_interval=1",
        "le_model.num_epochs=5",
    )  # fmt: skip


@pytest.fixture(scope="session")
def pretrained(run_main, ssl_options, tmp_path_factory):
    """Its run folder."""
    folder = tmp_path_factory.mktemp("ssl") / "run"
    run_main("ssl", *ssl_options, f"output_dir={folder}")
    return folder


@pytest.fixture
def run_inside():
    """Runs a main in this process: as fast as its work; a user's mistake is raised."""

    def run(name, *overrides):
        script = ROOT / "experiments" / name / "main.py"
        sys.path.insert(0, str(script.parent))
        try:
            main = runpy.run_path(str(script))["main"]
        finally:
            sys.path.remove(str(script.parent))
        for group in GROUPS:
            mirror(group)
        OmegaConf.register_new_resolver("sweep_name", lambda overrides: "job", replace=True)
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = plain(compose(name, overrides=list(map(str, overrides))))
        main(config, Path(config["output_dir"]))
        return Path(config["output_dir"])

    return run
