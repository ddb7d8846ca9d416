"""How an experiment's main starts: a checked config in, one plain line out for a user's mistake."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from dal_toolbox.config.overrides import check, expand_aliases, load_plugins, swept_keys
from dal_toolbox.config.parts import CONFIGS, GROUPS, mirror, plain
from dal_toolbox.errors import UserError

SWEPT = "DAL_TOOLBOX_SWEPT_KEYS"
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

    Args:
        config_name: Name of the primary config.
        run: Gets the config as plain dict and the folder of the run.

    Exit status 2 and one line on standard error for a user's mistake; 130 when interrupted.
    """
    try:
        sys.argv[1:] = expand_aliases(sys.argv[1:], config_name)
        load_plugins(sys.argv[1:], config_name)
        for group in _groups(config_name):
            mirror(group)
        if not any(argument.startswith("--") for argument in sys.argv[1:]):
            overrides = [item for item in sys.argv[1:] if not item.startswith("-")]
            check(overrides, config_name)
            # By the environment: jobs of a launcher may run in other processes.
            os.environ[SWEPT] = ",".join(swept_keys(overrides))
    except UserError as error:
        _stop(error)
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)

    @hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=config_name)
    def main(config: DictConfig) -> None:
        try:
            run(plain(config), Path(HydraConfig.get().runtime.output_dir))
        except UserError as error:
            _stop(error)
        except KeyboardInterrupt:
            print("interrupted; the same command resumes", file=sys.stderr)
            raise SystemExit(130) from None

    main()


def sweep_name(overrides: Sequence[str]) -> str:
    """Folder of one job of a sweep, from the overrides that tell it from the others.

    >>> sweep_name(["strategy=margin", "random_seed=1", "output_dir=/tmp/x"])
    'strategy-margin_random_seed-1'
    """
    parts = [item.lstrip("+~").partition("=") for item in overrides]
    swept = os.environ.get(SWEPT, "").split(",")
    if swept == [""]:  # not known: all that tell what a job does
        swept = [key for key, _, _ in parts if key.split("/")[0] not in PLACES]
    named = [f"{key}-{value}" for key, _, value in parts if key in swept]
    return "_".join(named).replace(os.sep, "-") or "default"


def _groups(config_name: str) -> list[str]:
    """The mirrored groups that a primary config uses; the packages of others are not imported."""
    defaults = OmegaConf.load(CONFIGS / f"{config_name}.yaml").defaults
    named = {str(key) for item in defaults if OmegaConf.is_dict(item) for key in item}
    return [group for group in GROUPS if group in named]


def _stop(error: UserError) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)
