"""Registry: names, discovery, plugins, messages."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from dal_toolbox import registry as module
from dal_toolbox.errors import UserError
from dal_toolbox.registry import BrokenPlugin, Registry, UnknownName


def make(kind="part", **kwargs):
    registry = Registry(kind, **kwargs)

    @registry.register("alpha")
    def alpha(size=1):
        return ("alpha", size)

    return registry


def test_builds_by_name():
    assert make().build("alpha", size=3) == ("alpha", 3)


def test_unknown_name_suggests_and_lists():
    with pytest.raises(
        UnknownName, match=r"^no part 'Alpa'\. Did you mean 'alpha'\? Known: alpha$"
    ):
        make().build("Alpa")


def test_unknown_name_is_a_key_error_and_a_user_error():
    with pytest.raises(KeyError) as caught:
        make()["beta"]
    assert isinstance(caught.value, UserError)


def test_duplicate_name_is_refused_and_names_both():
    registry = make()
    with pytest.raises(ValueError, match="already registered by .*alpha"):
        registry.register("alpha")(lambda: None)


def test_reloaded_definition_replaces_itself():
    registry = make()
    factory = registry["alpha"]
    assert registry.register("alpha")(factory) is factory


def test_is_a_mapping():
    registry = make()
    assert list(registry) == ["alpha"]
    assert "alpha" in registry
    assert "beta" not in registry
    assert len(registry) == 1
    assert "alpha" in repr(registry)


@pytest.fixture
def plugins(monkeypatch, tmp_path):
    (tmp_path / "good_plugin.py").write_text("def make():\n    return 'good'\n")
    (tmp_path / "bad_plugin.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("good", "good_plugin:make", "some.group"),
        EntryPoint("bad", "bad_plugin:make", "some.group"),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    return make(entry_points="some.group")


def test_entry_points_are_known_without_import(plugins):
    assert set(plugins) == {"alpha", "good", "bad"}
    assert plugins.build("good") == "good"


def test_broken_plugin_is_reported_by_name_and_breaks_nothing_else(plugins):
    with pytest.raises(BrokenPlugin, match=r"part 'bad' \(bad_plugin:make\).*nothing_of_this_name"):
        plugins.build("bad")
    assert plugins.build("alpha") == ("alpha", 1)
    assert plugins.build("good") == "good"


def test_discovers_the_modules_of_its_package(monkeypatch, tmp_path):
    package = tmp_path / "parts_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from dal_toolbox.registry import Registry\nPARTS = Registry('part', __name__)\n"
    )
    (package / "one.py").write_text(
        "from parts_of_a_test import PARTS\n@PARTS.register('one')\ndef one():\n    return 1\n"
    )
    (package / "_private.py").write_text("raise RuntimeError('private modules are not parts')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import parts_of_a_test

    assert "parts_of_a_test.one" not in sys.modules
    assert parts_of_a_test.PARTS.build("one") == 1


def test_importing_the_package_is_light():
    code = (
        "import sys, dal_toolbox, dal_toolbox.registry\n"
        "heavy = {'torchvision', 'timm', 'lightning', 'faiss', 'hydra', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "package",
    ["datasets", "encoders", "features", "neighbors", "classifiers", "augment", "active_learning"],
)
def test_importing_a_layer_imports_no_optional_stack(package):
    code = (
        f"import sys, dal_toolbox.{package}\n"
        "heavy = {'torchvision', 'timm', 'lightning', 'faiss', 'hydra', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
