"""The start of a main, as a user sees it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dal_toolbox import __version__
from dal_toolbox.config.failures import Stopped, line_of, plain_errors
from dal_toolbox.config.help import WIDTH, help_text
from dal_toolbox.config.keys import MAINS
from dal_toolbox.config.launch import LONGEST, SWEPT, prepare, sweep_name
from dal_toolbox.config.parts import GROUPS, groups_of, registry_of
from dal_toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MAIN = """
import sys
from dal_toolbox.config import launch
from dal_toolbox.progress import console, log

def main(config, folder):
    seed = config["random_seed"]
    if seed == 1:
        raise ValueError("a bug\\x1b[31m")
    if seed == 2:
        (folder / "missing" / "file").write_text("")
    if config["strategy"]["name"] == "bald":
        from dal_toolbox.errors import UserError
        raise UserError("strategy=bald: no posterior")
    log.warning("name %s", "K\\xe4se\\x1b[2J")
    console.print("[bold]caf\\udce9 K\\xe4se")
    print(f"done {seed} {config['output_dir']}")

launch("active_learning", main)
"""


@pytest.fixture
def start(tmp_path):
    """Runs a small main in an empty folder."""
    script = tmp_path / "code" / "start.py"
    script.parent.mkdir()
    script.write_text(MAIN)
    (tmp_path / "work").mkdir()

    def run(*arguments, status=0, **environment):
        process = subprocess.run(
            [sys.executable, str(script), *arguments],
            cwd=tmp_path / "work", capture_output=True, text=True, timeout=120,
            encoding="utf-8", errors="surrogateescape",
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        )  # fmt: skip
        assert process.returncode == status, process.stdout + process.stderr
        return process

    return run


def test_the_jobs_of_a_sweep_run_although_one_fails(start):
    process = start("-m", "strategy=bald,random", "random_seed=0,1,2", "features=raw", status=1)
    assert process.stdout.splitlines() == ["done 0 ./output/active_learning"]
    lines = process.stderr.splitlines()
    assert any(line.startswith("job 6 of 6: strategy=random random_seed=2") for line in lines)
    assert "left)" in process.stderr
    summary = lines[lines.index("5 of 6 jobs failed:") :]
    assert summary[1] == "  strategy=bald random_seed=0: strategy=bald: no posterior"
    assert "random_seed=1: ValueError: a bug\\x1b[31m" in summary[4]
    assert summary[5].endswith("missing/file: No such file or directory")


def test_a_bug_keeps_its_traceback(start):
    assert "Traceback" in start("random_seed=1", status=1).stderr


def test_an_error_of_the_system_is_one_line(start):
    (line,) = start("random_seed=2", status=2).stderr.splitlines()
    assert line.startswith("error: /")
    assert "Traceback" in start("random_seed=2", status=1, HYDRA_FULL_ERROR="1").stderr


def test_a_sweep_of_long_values(start):
    long = "x" * 400
    process = start("-m", "features=raw", f"baseline={long}", status=2)
    assert "no key 'baseline'" in process.stderr
    process = start("-m", f"dataset_path={long},y", "features=raw")
    assert process.stdout.count("done") == 2


def test_a_plain_terminal_gets_what_it_can_show(start):
    bare = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    process = start("output_dir=Käse", **bare)
    assert "done 42" in process.stdout
    assert "\x1b" not in process.stderr
    assert "[bold]caf" in process.stderr
    process = start("strategy=Käse", status=2, **bare)
    assert process.stderr.startswith("error: no strategy 'K")


def test_code_in_the_current_folder_does_not_run(start, tmp_path):
    for name in ("scipy", "safetensors", "faiss", "wandb", "torchvision", "my_strategies", "timm"):
        (tmp_path / "work" / f"{name}.py").write_text("raise SystemExit('code of a stranger')\n")
    process = start("encoder=timm", "encoder.model=resnet18", "features=raw")
    assert "stranger" not in process.stderr


def test_a_terminal_is_told_what_takes_seconds():
    terminal, theirs = os.openpty()
    code = "import dal_toolbox.starting, sys; assert 'torch' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True, stderr=theirs, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0",
                                        "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    os.close(theirs)
    assert b"importing torch" in os.read(terminal, 1000)
    os.close(terminal)


def test_a_quiet_end_when_the_reader_goes(start, tmp_path):
    shell = f"{sys.executable} {tmp_path / 'code' / 'start.py'} --help | head -1"
    process = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in process.stderr
    assert process.stdout.startswith("Active-learning")


def test_version_and_unknown_flags(capsys):
    with pytest.raises(SystemExit) as caught:
        prepare(["--version"], "ssl")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"dal_toolbox {__version__}\n"
    with pytest.raises(UserError, match="--foo"):
        prepare(["--foo", "n_cpus=2"], "ssl")


@pytest.mark.parametrize("main", MAINS)
def test_help_describes_every_key_in_80_columns(main):
    text = help_text(main)
    assert max(map(len, text.splitlines())) <= WIDTH
    for key in MAINS[main].keys:
        assert f"\n  {key}=" in text
    for group in groups_of(main):
        assert f"\n  {group}=" in text


@pytest.mark.parametrize("group", GROUPS)
def test_help_describes_every_key_of_every_part(group):
    for name in registry_of(group):
        lines = help_text("active_learning", [f"{group}={name}"]).splitlines()
        assert max(map(len, lines)) <= WIDTH
        keys = [
            number
            for number, line in enumerate(lines)
            if line.startswith(f"  {GROUPS[group].package}.")
        ]
        for number in keys:
            assert lines[number + 1].startswith("      "), f"{lines[number]} of {name}"


@pytest.mark.parametrize("length", [10, 300, 5000])
def test_the_folder_of_a_job_has_a_short_name(length, monkeypatch):
    monkeypatch.setenv(SWEPT, "features,random_seed")
    names = {sweep_name([f"features={'ä' * length}{end}", "random_seed=1"]) for end in "ab"}
    assert len(names) == 2
    assert max(len(name.encode()) for name in names) <= max(
        LONGEST, 2 * length * (length < 90) + 40
    )


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: No space left"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), "can be written to"),
        (PermissionError(errno.EACCES, "Permission denied", b"/data/\xff"), "Permission denied"),
        (OSError("Cannot read"), "Cannot read"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] can't allocate memory: you tried"), "memory"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "no space"),
    ],
)  # fmt: skip
def test_errors_of_the_system_say_the_way_out(error, words):
    line = line_of(error)
    assert words in line
    assert "\n" not in line


def test_an_interrupt_is_one_line():
    with pytest.raises(Stopped, match="the same command resumes") as caught, plain_errors():
        raise KeyboardInterrupt
    assert caught.value.status == 130


def test_other_errors_pass():
    assert line_of(ValueError("a bug")) is None
    with pytest.raises(ZeroDivisionError), plain_errors():
        1 / 0  # noqa: B018
    with pytest.raises(BrokenPipeError), plain_errors():
        raise BrokenPipeError
