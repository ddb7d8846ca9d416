"""How an experiment's main starts: a checked config in, one plain line out for a user's mistake."""

import os
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dal_toolbox import __version__
from dal_toolbox.config.checking import examine
from dal_toolbox.config.failures import TRACEBACK, Stopped, plain_errors, show
from dal_toolbox.config.help import help_text
from dal_toolbox.config.jobs import Jobs
from dal_toolbox.config.overrides import check, expand_aliases, swept
from dal_toolbox.config.parts import CONFIGS, GROUPS, groups_of, mirror
from dal_toolbox.config.plugins import load_plugins, plugins_of
from dal_toolbox.errors import UserError

SWEPT = "DAL_TOOLBOX_SWEPT_KEYS"
LONGEST = 200  # bytes of a folder's name; file systems take 255, and temporary names are longer
# Overrides that say where or how a run happens do not name it.
PLACES = (
    "output_dir",
    "dataset_path",
    "feature_dir",
    "n_cpus",
    "overwrite",
    "plugins",
    "experiment",
    "encoder_checkpoint",
)


def launch(config_name: str, run: Callable[[dict, Path], None]) -> None:
    """Composes ``configs/<config_name>.yaml`` with the command line and calls ``run``.

    Exit status 2 and one line on standard error for a user's mistake, 1 where jobs of a sweep failed,
    130 when interrupted.

    Args:
        config_name: Name of the primary config.
        run: Gets the config as plain dict and the folder of the run.
    """
    _prepare_process()
    try:
        with plain_errors():
            sys.argv[1:], swept_keys = prepare(sys.argv[1:], config_name)
            jobs = Jobs(swept_keys)
            _main(config_name, run, jobs)()
            if jobs.stopped is not None:
                raise jobs.stopped
    except Stopped as stopped:
        show(stopped.line)
        raise SystemExit(stopped.status) from None
    except BrokenPipeError:
        _drop_output()
        raise SystemExit(141) from None
    if jobs.failures:
        for line in jobs.summary():
            show(line)
        raise SystemExit(1)


def prepare(arguments: Sequence[str], config_name: str) -> tuple[list[str], dict[str, int | None]]:
    """Checks a command line in everything that needs no data.

    Returns:
        The command line for Hydra, and the number of values of each key of a sweep.

    Raises:
        UserError: One line for a mistake.
        SystemExit: Help or version were asked for, and are printed.
    """
    arguments = expand_aliases(arguments, config_name)
    overrides, sweep, other = _split(arguments)
    if "--version" in other:
        print(f"dal_toolbox {__version__}")
        raise SystemExit(0)
    load_plugins(plugins_of(overrides, config_name))
    for group in groups_of(config_name):
        if group in GROUPS:
            mirror(group)
    if "--help" in other or "-h" in other:
        print(help_text(config_name, overrides))
        raise SystemExit(0)
    if other:  # flags of Hydra that look at the config
        return arguments, {}
    check(overrides, config_name, sweep=sweep)
    numbers = swept(overrides)
    os.environ[SWEPT] = ",".join(numbers)  # jobs of a launcher may run in other processes
    return arguments, numbers


def sweep_name(overrides: Sequence[str]) -> str:
    """Folder of one job of a sweep, from the overrides that tell it from the others.

    >>> sweep_name(["strategy=margin", "random_seed=1", "output_dir=/tmp/x"])
    'strategy-margin_random_seed-1'
    """
    parts = [item.lstrip("+~").partition("=") for item in overrides]
    keys = os.environ.get(SWEPT, "").split(",")
    if keys == [""]:  # not known: all that tell what a job does
        keys = [key for key, _, _ in parts if key.split("/")[0] not in PLACES]
    named = [f"{key}-{value}" for key, _, value in parts if key in keys]
    return _shortened("_".join(named).replace(os.sep, "-")) or "default"


def _main(config_name: str, run: Callable[[dict, Path], None], jobs: Jobs) -> Callable[[], None]:
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    def main(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        jobs.run(lambda: run(examine(config, config_name), folder))

    return main


def _prepare_process() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # a terminal gets another character for one it cannot show
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        os.environ[TRACEBACK] = "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of being printed by Hydra


def _split(arguments: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """Overrides, whether a sweep is asked for, and the other flags."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    other = [flag for flag in flags if flag not in ("-m", "--multirun", "--run", "-r")]
    if not other or {"--version", "--help", "-h"} & set(other):
        overrides = [argument for argument in arguments if not argument.startswith("-")]
        return overrides, len(flags) > len(other) and "--run" not in flags, other
    parser = get_args_parser()
    parser.error = _refuse_flag  # type: ignore[method-assign, assignment]
    return parser.parse_args(list(arguments)).overrides, True, other


def _refuse_flag(message: str) -> None:
    raise UserError(f"{message}; --help shows the keys, --hydra-help the flags of Hydra")


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= LONGEST:
        return name
    digest = sha256(encoded).hexdigest()[:12]
    return f"{encoded[: LONGEST - 13].decode(errors='ignore')}-{digest}"


def _drop_output() -> None:
    """Lets the interpreter end without a complaint about a reader that has gone (``| head``)."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
