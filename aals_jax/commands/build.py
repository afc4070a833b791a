"""`--mode=build`: the dataset of a config, and nothing else."""

from pathlib import Path

from aals_jax.commands import config_flag
from aals_jax.commands.command_line import Command

COMMAND = Command(
    "build",
    summary="builds the dataset of a config, and trains nothing",
    example="""\
python launch.py --mode=build --config configs/clavicle.py
python launch.py --mode=build --config configs/rib.py --config.registry=DIR""",
    required=("config",),
)
_CONFIG = config_flag.define(
    COMMAND.group("What to build"),
    "The config file, optionally with a choice that it offers, such as "
    "configs/clavicle.py:paper. Its fields `registry`, `finding`, `data` and `phantom` "
    "decide what is built, and each is a flag, such as --config.data.side=512.",
)


def call() -> None:
    from aals_jax.input import prepare
    from aals_jax.runs import data_options
    from aals_jax.runtime import log, stopping

    COMMAND.take_signals()
    options = data_options.of(_CONFIG.value)
    COMMAND.own(Path(_CONFIG.value.data.dir), private=True)
    log.info("the dataset: %s", prepare.prepare_dataset(options))
    stopping.leave()
