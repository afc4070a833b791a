"""Many runs from one file: which trials there are, one of them, or all of them.

Each trial is the idempotent run of its config, in a workdir named by a hash of it.
What is finished is left alone, so a sweep goes on by being called again.
"""

import ctypes
import dataclasses
import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.input import prepare
from aals_jax.runs import run as runs
from aals_jax.runtime import locks, log
from aals_jax.sweeps import (
    board,
    results,
    sweep_file,
    trials,
)
from aals_jax.sweeps.trials import Trial

_OVER = ("done", "stopped")  # states of trials that a sweep leaves alone
_LAUNCH = Path(__file__).parents[2] / "launch.py"


@dataclasses.dataclass(frozen=True)
class Job:
    """A sweep file, its folder, and what a trial gets."""

    file: str  # path, and an argument of its function after ":"
    root: Path
    cpus: int | None = None  # cores of a trial, pinned; None: 1 by a driver, else all
    gpus: float = 0.0  # of a trial
    at_once: int = 0  # trials at most; 0: as many as there are resources for
    retries: int = 1  # of a failed trial

    def command(self, *more: str, launcher: Sequence[str]) -> list[str]:
        """Runs a trial of this sweep, once `more` says which."""
        path, colon, argument = self.file.partition(":")
        place = path if launcher[-1] == "launch.py" else str(Path(path).absolute())
        cpus = [] if self.cpus is None else [f"--cpus_per_trial={self.cpus}"]
        file = f"--sweep={place}{colon}{argument}"
        return [*launcher, "--mode=sweep", file, f"--workdir={self.root}", *cpus, *more]


def listed(job: Job) -> list[str]:
    """A line a trial: the command that runs it; its hash, state and label behind #."""
    sweep = sweep_file.load(job.file, job.root)
    if not sweep.trials:
        raise ValueError("Optuna's samples depend on each other: there is no list")
    launcher = ("python", "launch.py")
    return [
        f"{shlex.join(job.command(f'--index={t.index}', launcher=launcher))}"
        f"  # {t.name} {t.state()} {t.label}"
        for t in sweep.trials
    ]


def run_index(job: Job, index: int, load_config: Callable[..., Any]) -> None:
    """Runs one trial of the list, as a task of a Slurm array does."""
    found = sweep_file.load(job.file, job.root).trials
    if not 0 <= index < len(found):
        raise ValueError(f"--index={index}: the list has 0 to {len(found) - 1}")
    found[index].freeze()
    run_trial(job, found[index].name, load_config)


def run_child(job: Job, name: str, load_config: Callable[..., Any]) -> None:
    """Runs a frozen trial for a driver, and ends when the process that started it does:
    what it was given belongs to the next driver then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    run_trial(job, name, load_config)


def run_trial(job: Job, name: str, load_config: Callable[..., Any]) -> None:
    """Runs a frozen trial, once nobody else does; finished ones are left alone."""
    trial = trials.read(job.root, name)
    with locks.held(trial.folder):
        if trial.is_done:
            log.log.info("done already: %s", trial.folder / "result.json")
            return
        with locks.cores(job.cpus or 0) as cores, trial.attempt(cores):
            config = load_config(trial.fields)
            runs.run(config, trial.folder, shared=job.root / "shared")


def run(job: Job) -> None:
    """Runs what is unfinished, shows how it goes, writes tables and the page.

    Raises:
      ValueError: trials failed, or Ray is not installed; the tables are there.
    """
    job = dataclasses.replace(
        job, root=job.root.absolute(), cpus=1 if job.cpus is None else job.cpus
    )
    told = f"another sweep is at work in {job.root}: wait for it, or end it"
    with locks.held_now(job.root, told=told):
        sweep = sweep_file.load(job.file, job.root)

        def current() -> list[Trial]:
            return sweep.trials or trials.read_all(job.root)

        for trial in sweep.trials:
            trial.freeze()
        left = [t.name for t in sweep.trials if t.state() not in _OVER]
        if left or not sweep.trials:
            engine = _engine()
            _prepare_data(sweep.configs)
            with board.watch(current):
                _work(engine, job, sweep, left)
        results.write(current(), job.root)
        _tell_failures([t for t in current() if t.state() not in _OVER])


def _engine() -> Any:
    try:
        from aals_jax.sweeps import ray_engine  # an extra dependency
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "optuna"):
            raise
        raise ValueError(
            f"{error.name} is not installed: pip install -r requirements/sweep.txt; "
            "without it --list prints the trials and --index=N runs one"
        ) from None
    return ray_engine


def _prepare_data(configs: Sequence[Any]) -> None:
    """Builds each dataset once, with all cores, before the trials ask for it."""
    built = set()
    for config in configs:
        fields = json.loads(config.to_json_best_effort())
        unread = dict.fromkeys(("fold", "region_images", "label_noise"))
        data = fields["data"] | unread
        key = json.dumps(
            [fields[n] for n in ("registry", "finding", "phantom")] + [data]
        )
        if key not in built:
            prepare.prepare_dataset(config)
        built.add(key)


def _work(engine: Any, job: Job, sweep: sweep_file.Sweep, left: Sequence[str]) -> None:
    def make(values: Mapping[str, Any], number: int) -> Trial:
        assert sweep.search is not None
        config = sweep.search.config_of(values)
        trial = sweep_file.make_trial(config, job.root, index=number, differing=values)
        trial.freeze()
        return trial

    shutil.rmtree(job.root / "ray", ignore_errors=True)  # of an earlier driver
    engine.run(
        left,
        root=job.root,
        command=job.command(launcher=(sys.executable, str(_LAUNCH))),
        resources={"cpu": job.cpus, "gpu": job.gpus},
        at_once=job.at_once,
        retries=job.retries,
        search=sweep.search,
        make=None if sweep.trials else make,
    )


def _tell_failures(failed: Sequence[Trial]) -> None:
    if not failed:
        return
    for trial in failed:
        log.log.error(
            "%s (%s) has not finished; the end of %s:\n%s",
            trial.label or "the trial",
            trial.name,
            trial.log,
            trial.last_lines(),
        )
    raise ValueError(
        f"{len(failed)} trial(s) have not finished; call again to go on with them"
    )
