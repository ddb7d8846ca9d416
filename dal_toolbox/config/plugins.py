"""Plugins: modules of the user, imported from their own place, only when named, shadowing nothing."""

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import yaml

from dal_toolbox.config.parts import CONFIGS, load_yaml, primary
from dal_toolbox.errors import UserError

# By the environment: worker processes that are spawned import the plugins of their parent.
KNOWN = "DAL_TOOLBOX_PLUGINS"


class Plugins(MetaPathFinder):
    """Finds the modules that were named as plugins, after everything that is installed."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The place of a plugin; None for every other module."""
        file = _known().get(fullname)
        if file is None:
            return None
        if Path(file).is_dir():  # a package without __init__.py
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [file]
            return spec
        folders = [str(Path(file).parent)] if Path(file).name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, file, submodule_search_locations=folders
        )


def load_plugins(names: Sequence[str]) -> None:
    """Imports plugins: dotted names, or paths of Python files.

    A dotted name is looked up among the installed modules, then in the current folder, which does not
    become a place for other imports.

    Raises:
        UserError: A plugin cannot be imported, or has the name of an installed module.
    """
    for name in names:
        try:
            importlib.import_module(_module_of(name))
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(
                f"plugin '{name}' cannot be imported: {type(error).__name__}: {error}"
            ) from error


def plugins_of(arguments: Sequence[str], config_name: str) -> list[str]:
    """The plugins of a command: of the command line, the experiment file, or the primary config.

    They are needed before the config is composed: they add choices to it.

    Raises:
        UserError: ``plugins`` is no list of names.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    group = f"experiment/{config_name}"
    file = CONFIGS / group / f"{given.get(group)}.yaml"
    found = [load_yaml(file).get("plugins")] if file.is_file() else []
    names: Any = next((each for each in found if each is not None), primary(config_name)["plugins"])
    if "plugins" in given:
        try:
            names = yaml.safe_load(given["plugins"])
        except yaml.YAMLError as error:
            raise UserError(_no_list(given["plugins"])) from error
    if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
        raise UserError(_no_list(given.get("plugins", names)))
    return names


def in_plugin(trace: TracebackType | None) -> str | None:
    """File and line of the deepest frame of a traceback that belongs to a plugin."""
    place = None
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in _known():
            place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _module_of(plugin: str) -> str:
    """Name of the module of a plugin, findable from now on."""
    if plugin.endswith(".py"):
        file = Path(plugin).resolve()
        if not file.is_file():
            raise UserError(f"plugin '{plugin}': there is no file {file}")
        return _remember(_free_name(file), file)
    top = plugin.partition(".")[0]
    own = _in_folder(Path.cwd() / top)
    if _is_installed(top):
        if own is not None:
            raise UserError(
                f"plugin '{plugin}' has the name of an installed module; rename {own}, or give its "
                f"path: plugins=[{own}]"
            )
        return plugin
    if own is not None:
        _remember(top, own)
    return plugin


def _is_installed(top: str) -> bool:
    if top in _known():
        return False
    return top in sys.stdlib_module_names or importlib.util.find_spec(top) is not None


def _in_folder(stem: Path) -> Path | None:
    files = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    found = [file for file in files if file.is_file()] + [stem] * stem.is_dir()
    return found[0] if found else None


def _free_name(file: Path) -> str:
    """The stem, with a digest of the path where an installed module or another plugin has it."""
    stem = file.stem.replace(".", "_")
    taken = _known().get(stem)
    if taken == str(file) or (taken is None and not _is_installed(stem)):
        return stem
    return f"{stem}_{sha256(os.fsencode(file)).hexdigest()[:8]}"


def _remember(module: str, file: Path) -> str:
    os.environ[KNOWN] = json.dumps({**_known(), module: str(file)})
    importlib.invalidate_caches()
    return module


def _known() -> dict[str, str]:
    return json.loads(os.environ.get(KNOWN, "{}"))


def _no_list(value: object) -> str:
    return (
        f"plugins={value}: must be a list of modules or Python files, such as "
        "plugins=[my_strategies]"
    )


if not any(isinstance(finder, Plugins) for finder in sys.meta_path):
    sys.meta_path.append(Plugins())
