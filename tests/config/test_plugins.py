"""Plugins: only what is named is imported, and nothing that is installed is shadowed."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from dal_toolbox.config import plugins as module
from dal_toolbox.config.plugins import KNOWN, in_plugin, load_plugins, plugins_of
from dal_toolbox.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, and no plugin of another test."""
    monkeypatch.setenv(KNOWN, "{}")
    monkeypatch.chdir(tmp_path)
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_module_of_the_current_folder(folder):
    (folder / "plugin_one.py").write_text("VALUE = 1\n")
    load_plugins(["plugin_one"])
    assert sys.modules["plugin_one"].VALUE == 1


@pytest.mark.parametrize("init", [True, False])
def test_a_module_of_a_package(folder, init):
    package = folder / f"plugin_lab_{init}"
    package.mkdir()
    if init:
        (package / "__init__.py").touch()
    (package / "helper.py").write_text("VALUE = 2\n")
    (package / "strategies.py").write_text("from .helper import VALUE\n")
    load_plugins([f"plugin_lab_{init}.strategies"])
    assert sys.modules[f"plugin_lab_{init}.strategies"].VALUE == 2


def test_a_file_anywhere(folder):
    (folder / "deep").mkdir()
    file = folder / "deep" / "plugin_file.py"
    file.write_text("VALUE = 3\n")
    load_plugins([str(file)])
    load_plugins(["deep/plugin_file.py"])  # the same again
    assert sys.modules["plugin_file"].VALUE == 3


def test_two_files_of_one_name_are_two_modules(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "plugin_twin.py").write_text(f"VALUE = '{name}'\n")
    load_plugins(["a/plugin_twin.py", "b/plugin_twin.py"])
    found = {each.VALUE for name, each in sys.modules.items() if name.startswith("plugin_twin")}
    assert found == {"a", "b"}


@pytest.mark.parametrize("name", ["random", "scipy", "numpy"])
def test_a_file_never_takes_the_place_of_an_installed_module(folder, name):
    __import__(name)
    before = sys.modules[name]
    (folder / f"{name}.py").write_text("VALUE = 4\n")
    with pytest.raises(UserError, match="the name of an installed module"):
        load_plugins([name])
    load_plugins([f"./{name}.py"])
    assert sys.modules[name] is before
    assert any(getattr(each, "VALUE", 0) == 4 for each in list(sys.modules.values()))


def test_what_is_not_named_is_not_imported(folder):
    (folder / "plugin_quiet.py").write_text("import plugin_beside\n")
    (folder / "plugin_beside.py").write_text("raise RuntimeError('code of a stranger')\n")
    with pytest.raises(UserError, match="No module named 'plugin_beside'"):
        load_plugins(["plugin_quiet"])


@pytest.mark.parametrize(
    "code, message",
    [
        ("1 / 0\n", "ZeroDivisionError"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_a_broken_plugin_is_one_line(folder, code, message):
    (folder / "plugin_broken.py").write_text(code)
    with pytest.raises(UserError, match=f"plugin 'plugin_broken' cannot be imported: {message}"):
        load_plugins(["plugin_broken"])


@pytest.mark.parametrize("value", ["null", "3", "[3]", "name", "{a: 1}", "[", "[a,", "[null]"])
def test_plugins_is_a_list_of_names(value):
    with pytest.raises(UserError, match="must be a list of modules"):
        plugins_of([f"plugins={value}"], "active_learning")


def test_the_place_of_an_error_in_a_plugin(folder):
    (folder / "plugin_fails.py").write_text("def fail(call):\n    call()\n")
    load_plugins(["plugin_fails"])
    try:
        sys.modules["plugin_fails"].fail(lambda: 1 / 0)
    except ZeroDivisionError as error:
        assert in_plugin(error.__traceback__) == f"{folder / 'plugin_fails.py'}, line 2"
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as error:
        assert in_plugin(error.__traceback__) is None


def test_spawned_processes_find_the_plugins_of_their_parent(folder):
    (folder / "plugin_spawn.py").write_text("class Part:\n    value = 5\n")
    load_plugins(["plugin_spawn"])
    pickled = pickle.dumps(sys.modules["plugin_spawn"].Part())
    code = (
        "import sys, pickle, dal_toolbox.config\n"
        "print(pickle.load(sys.stdin.buffer).value)"
    )  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=pickled, capture_output=True, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.strip() == b"5"
    assert module.Plugins().find_spec("plugin_other") is None
