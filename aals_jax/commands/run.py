"""`--mode=run`: a config's data, its two stages, its result and its page."""

from pathlib import Path

from aals_jax.commands import config_flag
from aals_jax.commands.command_line import Command

COMMAND = Command(
    "run",
    summary="trains and measures what a config describes, from where it was stopped",
    example="""\
python launch.py --config configs/clavicle.py
python launch.py --config configs/clavicle.py --config.seed=1 --workdir runs/seed1
python launch.py --config configs/rib.py --config.registry=DIR""",
    required=("config",),
)
_RUN = COMMAND.group("What to run, and where it is kept")
_CONFIG = config_flag.define(
    _RUN,
    "The config file, optionally with a choice that it offers, such as "
    "configs/clavicle.py:paper. Each field of configs/base.py is a flag as well, such "
    "as --config.distill.max_strength=8.",
)
_WORKDIR = _RUN.path(
    "workdir",
    None,
    "Folder of checkpoints, history, result.json and report.html. Without it: "
    "runs/FINDING, and runs/FINDING-SCALE for another scale than laptop.",
    placeholder="DIR",
)


def call() -> None:
    from aals_jax.runs import run

    COMMAND.start_devices()
    config = _CONFIG.value
    suffix = "" if config.scale == "laptop" else f"-{config.scale}"
    run.run(config, _WORKDIR.value or Path(f"runs/{config.finding}{suffix}"))
