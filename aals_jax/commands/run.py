"""`--mode=run`: a config's data, its two stages, its result and its page."""

import os
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
_HOSTS = COMMAND.group("Several hosts, where no launcher tells JAX of them")
_COORDINATOR = _HOSTS.text(
    "coordinator",
    None,
    "Host 0's name and a free port there, the same on every host. Slurm, Open MPI, "
    "Cloud TPU and Kubernetes jobs are recognised without it.",
    placeholder="HOST:PORT",
)
_NUM_HOSTS = _HOSTS.integer(
    "num_hosts",
    None,
    "Processes of the run; 1 trains alone whatever a launcher says.",
    lowest=1,
)
_HOST = _HOSTS.integer(
    "host", None, "Number of this process, from 0; host 0 writes.", lowest=0
)


def call() -> None:
    from aals_jax.runs import check, data_options, run
    from aals_jax.runtime import hosts, stopping

    joining = hosts.choose(
        os.environ,
        coordinator=_COORDINATOR.value,
        num_hosts=_NUM_HOSTS.value,
        host=_HOST.value,
    )
    COMMAND.start_devices(joining)
    config = _CONFIG.value
    suffix = "" if config.scale == "laptop" else f"-{config.scale}"
    workdir = _WORKDIR.value or Path(f"runs/{config.finding}{suffix}")
    check.check_config(config)  # and its data: before a folder is made
    data_options.of(config)
    if hosts.is_primary():
        COMMAND.own(workdir, private=True)
    run.run(config, workdir)
    stopping.leave()
