"""Runs a config: data, pre-training, distillation, evaluation and the page.

    python launch.py --config configs/clavicle.py
    python launch.py --config configs/clavicle.py --config.seed=1 --workdir runs/seed1
    python launch.py --config configs/rib.py --config.registry=DIR

Calling it again goes on where it was interrupted, and says so when all is done. Any
field of configs/base.py is a flag: --config.distill.max_strength=8.
"""

import logging
import sys
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from aals_jax import parallel, prepare, reporting
from aals_jax import run as runs

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file, such as configs/clavicle.py or :paper after it."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run is kept; default: runs/<finding>[-<scale>]."
)
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where an error came from.")
_MODE = flags.DEFINE_enum(
    "mode", "run", ["run", "build"], "run: the whole way; build: the dataset only."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}; see --help")
    reporting.set_up_logging()
    for noisy in ("absl", "jax"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    config = _CONFIG.value
    suffix = "" if config.scale == "laptop" else f"-{config.scale}"
    workdir = Path(_WORKDIR.value or f"runs/{config.finding}{suffix}")
    jax.config.update("jax_compilation_cache_dir", str(Path("runs/.xla").absolute()))
    try:
        parallel.initialize()
        if _MODE.value == "build":
            path, _ = prepare.prepare_dataset(config)
            reporting.log.info("the dataset: %s", path)
        else:
            runs.run(config, workdir)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        if _TRACEBACK.value:
            raise
        reporting.log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
