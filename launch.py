"""Does what a config says: data, pre-training, distillation, evaluation and the page.

    python launch.py --config configs/clavicle.py
    python launch.py --help                     the modes, and the flags of a run
    python launch.py --mode=score --help        the flags of another mode

Calling it again goes on where it was interrupted, and says so when all is done. Each
mode is a module of aals_jax/commands: run (the default), build, evaluate, score, audit,
sweep, study, plan, power, export, predict.
"""

from data.cxr_registry.guard import memory

memory.keep()  # before any import that starts threads

from aals_jax.commands import command_line  # noqa: E402

if __name__ == "__main__":
    command_line.main()
