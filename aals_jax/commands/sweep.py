"""`--mode=sweep`: many runs from one file, killed and called again as one likes."""

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "sweep",
    summary="does many runs from one file, from where it was stopped",
    example="""\
python launch.py --mode=sweep --sweep configs/sweeps/tiny.py --workdir runs/tiny
python launch.py --mode=sweep --sweep configs/sweeps/tiny.py --workdir DIR --list
python launch.py --mode=sweep --sweep configs/sweeps/tiny.py --workdir DIR --index 0""",
    required=("sweep", "workdir"),
)
_TRIALS = COMMAND.group("Which trials, and where they are kept")
_SWEEP = _TRIALS.text(
    "sweep",
    None,
    "The sweep file, optionally with an argument of its function, such as "
    "configs/sweeps/tuning.py:aals.",
    placeholder="FILE[:CHOICE]",
)
_WORKDIR = _TRIALS.path(
    "workdir", None, "Folder of the trials, the tables and the page.", placeholder="DIR"
)
_LIST = _TRIALS.switch(
    "list",
    False,
    "Run nothing; print a line for each trial: the command that runs it, its hash, its "
    "state and its label. Needs no Ray.",
)
_INDEX = _TRIALS.integer(
    "index", None, "Run the trial of this number in the list, from 0. Needs no Ray."
)
_TRIAL = _TRIALS.text(
    "trial",
    None,
    "Run the trial of this hash; the sweep gives it to the processes that it starts.",
    placeholder="HASH",
)
_RESOURCES = COMMAND.group("What a trial gets")
_CPUS = _RESOURCES.integer(
    "cpus_per_trial",
    None,
    "Number of cores that a trial is pinned to; 0 does not pin it. Without it: 1, and "
    "with --index all of them.",
    lowest=0,
)
_GPUS = _RESOURCES.number(
    "gpus_per_trial",
    0.0,
    "Number of GPUs of a trial, of this machine or of the Ray cluster; may be a "
    "fraction.",
    lowest=0.0,
)
_AT_ONCE = _RESOURCES.integer(
    "trials_at_once",
    0,
    "Number of trials at most at a time; 0: as many as cores and GPUs allow.",
    lowest=0,
)
_RETRIES = _RESOURCES.integer(
    "retries", 1, "How many times a failed trial is started again.", lowest=0
)


@COMMAND.check
def _faults() -> list[str]:
    one = [flag for flag in (_LIST, _INDEX, _TRIAL) if flag.value not in (None, False)]
    faults = COMMAND.unread(
        (_GPUS, _AT_ONCE, _RETRIES),
        when=not one,
        needs="a whole sweep, not for --list, --index or --trial",
    )
    if len(one) > 1:
        faults.append("give one of --list, --index and --trial")
    return faults


def call() -> None:
    from ml_collections import ConfigDict

    from aals_jax.sweeps import driver

    job = driver.Job(
        file=_SWEEP.value,
        root=_WORKDIR.value,
        cpus=_CPUS.value,
        gpus=_GPUS.value,
        at_once=_AT_ONCE.value,
        retries=_RETRIES.value,
    )
    if _LIST.value:
        print("\n".join(driver.listed(job)))
    elif _INDEX.value is not None:
        COMMAND.start_devices()
        driver.run_index(job, _INDEX.value, load_config=ConfigDict)
    elif _TRIAL.value:
        COMMAND.start_devices()
        driver.run_child(job, _TRIAL.value, load_config=ConfigDict)
    else:
        COMMAND.own(job.root)
        driver.run(job)
