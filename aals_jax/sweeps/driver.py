"""Many runs from one file: lists its trials, runs one of them, or all of them.

Each trial is a run of its config, in a workdir named by a hash of the config. A
finished trial is left alone and an unfinished one goes on, so a sweep that was stopped
continues when it is called again.
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

from aals_jax.evaluation.result import RUN_FILE
from aals_jax.input import prepare
from aals_jax.runs import data_options
from aals_jax.runs import run as runs
from aals_jax.runtime import cores, log
from aals_jax.sweeps import board, results, sweep_file, trials
from aals_jax.sweeps.trials import Trial
from data.cxr_registry.guard import locks

_UNLISTED = (
    "needs a fixed list; an Optuna search picks each sample from earlier results"
)
_OVER = ("done", "stopped")  # states of trials that a sweep leaves alone
_LAUNCH = Path(__file__).parents[2] / "launch.py"


@dataclasses.dataclass(frozen=True)
class Job:
    """A sweep file, its folder, and what a trial gets."""

    file: str  # its path; what follows ":" is an argument of its function
    root: Path  # folder of the trials and the tables
    # cores that a trial is pinned to; 0: not pinned; None: 1 when a sweep runs it, not
    # pinned when it is run alone
    cpus: int | None = None
    gpus: float = 0.0  # GPUs per trial, may be a fraction
    at_once: int = 0  # most trials at a time; 0: as many as cores and GPUs allow
    retries: int = 1  # how often a failed trial is started again

    def command(self, *more: str, launcher: Sequence[str]) -> list[str]:
        """The command that runs a trial of this sweep.

        Args:
          more: the flag that names the trial.
          launcher: what the command starts with; the last word is launch.py or its
            path, and with a path the sweep file has an absolute path too.
        """
        path, colon, argument = self.file.partition(":")
        place = path if launcher[-1] == "launch.py" else str(Path(path).absolute())
        cpus = [] if self.cpus is None else [f"--cpus_per_trial={self.cpus}"]
        file = f"--sweep={place}{colon}{argument}"
        return [*launcher, "--mode=sweep", file, f"--workdir={self.root}", *cpus, *more]


def listed(job: Job) -> list[str]:
    """One line per trial: the command that runs it, then `# hash state label`."""
    sweep = sweep_file.load(job.file, job.root)
    if not sweep.trials:
        raise ValueError(f"--list {_UNLISTED}")
    launcher = ("python", "launch.py")
    return [
        f"{shlex.join(job.command(f'--index={t.index}', launcher=launcher))}"
        f"  # {t.name} {t.state()} {t.label}"
        for t in sweep.trials
    ]


def run_index(job: Job, index: int, load_config: Callable[..., Any]) -> None:
    """Runs one trial of the list, as a task of a Slurm array does."""
    planned = sweep_file.load(job.file, job.root).trials
    if not planned:
        raise ValueError(f"--index {_UNLISTED}")
    if not 0 <= index < len(planned):
        raise ValueError(f"--index={index}: the list has 0 to {len(planned) - 1}")
    planned[index].freeze()
    run_trial(job, planned[index].name, load_config)


def run_child(job: Job, name: str, load_config: Callable[..., Any]) -> None:
    """Runs a frozen trial for a driver. On Linux it is killed when the driver's process
    that started it ends, since the next driver gives its cores and GPU away again."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    run_trial(job, name, load_config)


def run_trial(job: Job, name: str, load_config: Callable[..., Any]) -> None:
    """Runs a frozen trial, or leaves it alone if it is finished; waits while another
    process is running it."""
    trial = trials.read(job.root, name)
    with locks.held(trial.folder):
        if trial.is_done:
            log.info("done already: %s", trial.folder / RUN_FILE)
            return
        with cores.pinned(job.cpus or 0) as numbers, trial.attempt(numbers):
            config = load_config(trial.fields)
            runs.run(config, trial.folder, shared=job.root / "shared")


def run(job: Job) -> None:
    """Runs the unfinished trials and shows their progress, then writes the tables.

    Raises:
      ValueError: trials are unfinished and Ray is not installed; or trials failed: the
        tables are written all the same.
    """
    job = dataclasses.replace(
        job, root=job.root.absolute(), cpus=1 if job.cpus is None else job.cpus
    )
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
    """Builds each dataset once, before trials need it: here no core is pinned."""
    built = set()
    for config in configs:
        fields = json.loads(config.to_json_best_effort())
        # none of these changes what is built
        unread = dict.fromkeys(("fold", "region_images", "label_noise"))
        data = fields["data"] | unread
        phantom = fields["phantom"] | {"region_images": None}
        key = json.dumps([fields["registry"], fields["finding"], phantom, data])
        if key not in built:
            prepare.prepare_dataset(data_options.of(config))
        built.add(key)


def _work(engine: Any, job: Job, sweep: sweep_file.Sweep, left: Sequence[str]) -> None:
    """Has the engine run the trials `left`, or those that a search asks for."""

    def make(values: Mapping[str, Any], number: int) -> Trial:
        assert sweep.search is not None
        config = sweep.search.config_of(values)
        trial = sweep_file.make_trial(config, job.root, index=number, differing=values)
        trial.freeze()
        return trial

    shutil.rmtree(job.root / "ray", ignore_errors=True)  # left by an earlier driver
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
        log.error(
            "%s (%s) has not finished; the end of %s:\n%s",
            trial.label or "the trial",
            trial.name,
            trial.log,
            trial.last_lines(),
        )
    raise ValueError(
        f"{len(failed)} trial(s) have not finished; call again to go on with them"
    )
