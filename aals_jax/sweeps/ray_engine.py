"""Ray Tune as the engine of a sweep; the only module that knows Ray and Optuna.

Each trial is a process of its own, started here and watched through the files it
writes, so nothing of it is lost when Ray, the driver or the machine goes down.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.storages.journal import JournalFileBackend
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from aals_jax.sweeps import trials
from aals_jax.sweeps.search import Search, Uniform

METRIC, CLOCK = "auroc", "steps"
_POLL_S = 0.3
_STARTS = 5  # attempts to start Ray, which may be slow on a busy machine
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Ray's own files are not needed: a sweep is continued from the trials' folders
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
}


class Process(tune.Trainable):
    """A trial's process; reports a result to Ray after each validation."""

    def setup(self, config, *, root: Path, command: Sequence[str]):  # pyright: ignore[reportIncompatibleMethodOverride]
        self._root, self._command = root, command
        self._begin(config["name"])

    def _begin(self, name: str) -> None:
        self._trial, self._reported = trials.read(self._root, name), -1
        with self._trial.log.open("a") as log:
            self._process = subprocess.Popen(
                [*self._command, f"--trial={name}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us, and we end the process
            )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self._begin(new_config["name"])
        return True

    def step(self) -> dict[str, Any]:
        while True:
            code = self._process.poll()
            progress = self._trial.progress()
            if code:
                raise RuntimeError(f"exit status {code}")
            if code == 0 or (
                progress.auroc is not None and progress.steps > self._reported
            ):
                self._reported = progress.steps
                values = {METRIC: progress.auroc, CLOCK: progress.steps}
                return {**values, "done": code == 0}
            time.sleep(_POLL_S)

    def cleanup(self) -> None:
        if self._process.poll() is None:  # the scheduler or a person stops it
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class _Notes(tune.Callback):
    """Notes in their folders which trials the scheduler stopped."""

    def __init__(self, root: Path):
        self._root = root

    def on_trial_complete(self, iteration, trials: list, trial, **info):
        _note_stopped(self._root, trial.config["name"])


def _note_stopped(root: Path, name: str) -> None:
    trial = trials.read(root, name)
    if not trial.is_done:
        trial.note("stopped")


class _Optuna(Searcher):
    """Asks Optuna for samples; each question and answer is at once in a file.

    After a kill the next driver first gives out the samples that had no answer, then
    asks for new ones. Ray's own OptunaSearch is restored from snapshots, which lose
    what came after them.
    """

    def __init__(self, search: Search, root: Path, make: Callable[..., trials.Trial]):
        super().__init__(metric=METRIC, mode="max")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = JournalFileBackend(str(root / "search.log"))
        self._make, self._samples = make, search.samples
        self._space = {name: _distribution(kind) for name, kind in search.space.items()}
        self._asked: dict[str, optuna.Trial] = {}
        self._study = optuna.create_study(
            study_name="sweep",
            storage=optuna.storages.JournalStorage(journal),
            sampler=optuna.samplers.TPESampler(seed=search.seed),
            direction="maximize",
            load_if_exists=True,
        )
        self._left = search.samples - self._count(optuna.trial.TrialState.COMPLETE)
        self._give_out_again()

    def _count(self, *states: optuna.trial.TrialState) -> int:
        return len(self._study.get_trials(deepcopy=False, states=states))

    def _give_out_again(self) -> None:
        settled = {
            tuple(t.system_attrs.get("fixed_params", t.params).items())
            for t in self._study.get_trials(deepcopy=False)
            if t.state.name in ("COMPLETE", "WAITING")
        }
        for t in self._study.get_trials(deepcopy=False):
            if t.state.name not in ("RUNNING", "FAIL") or not t.params:
                continue
            if tuple(t.params.items()) not in settled:
                self._study.enqueue_trial(t.params)
                settled.add(tuple(t.params.items()))
            if t.state.name == "RUNNING":
                self._study.tell(t.number, state=optuna.trial.TrialState.FAIL)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if not self._left:
            return Searcher.FINISHED  # pyright: ignore[reportReturnType]
        self._left -= 1
        asked = self._asked[trial_id] = self._study.ask(self._space)
        return {"name": self._make(asked.params, asked.number).name}

    def on_trial_complete(self, trial_id, result=None, error=False):
        asked, value = self._asked.pop(trial_id), (result or {}).get(METRIC)
        if error or value is None:
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, value)

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()  # Ray wants a file; Optuna's journal has it all


def _distribution(kind: Any) -> optuna.distributions.BaseDistribution:
    if isinstance(kind, Uniform):
        return optuna.distributions.FloatDistribution(kind.low, kind.high, log=kind.log)
    return optuna.distributions.CategoricalDistribution(tuple(kind.values))


def run(
    names: Sequence[str],
    *,
    root: Path,
    command: Sequence[str],
    resources: Mapping[str, float],
    at_once: int,
    retries: int,
    search: Search | None = None,
    make: Callable[..., trials.Trial] | None = None,
) -> None:
    """Runs trials to their end; an error of one does not stop the others.

    Args:
      names: frozen trials, in the order to run them; not used where `make` is given.
      root: the sweep's folder, the same path on all machines.
      command: starts a trial's process once the flag with its name is added.
      resources: how many "cpu" and "gpu" a trial takes.
      at_once: most trials at a time; 0: as many as the resources allow.
      retries: how often a failed trial is started again.
      search: its scheduler may stop trials; None: trials run to their end.
      make: (values, number) -> the frozen trial of a sample; given where Optuna picks
        the samples of the search.
    """
    _connect()
    # failures are told by the driver, with the end of the trial's log
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        asked = _Optuna(search, root, make) if search and make else None
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(Process, root=root, command=list(command)),
                dict(resources),
            ),
            param_space={} if asked else {"name": tune.grid_search(list(names))},
            tune_config=tune.TuneConfig(
                scheduler=_scheduler(search),
                search_alg=asked,
                num_samples=-1 if asked else 1,
                max_concurrent_trials=at_once or None,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.config["name"],
            ),
            run_config=_run_config(root, retries),
        ).fit()
    finally:
        ray.shutdown()


def _run_config(root: Path, retries: int) -> tune.RunConfig:
    return tune.RunConfig(
        name="tune",
        storage_path=str(root / "ray"),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        failure_config=tune.FailureConfig(max_failures=retries),
        callbacks=[_Notes(root)],
        verbose=0,
    )


def _scheduler(search: Search | None) -> Any:
    if search is None or search.scheduler == "none":
        return None
    return ASHAScheduler(
        time_attr=CLOCK,
        metric=METRIC,
        mode="max",
        max_t=search.total_steps,
        grace_period=search.grace,
        reduction_factor=search.reduction,
        stop_last_trials=False,  # at its last update a trial has yet to run its test
    )


def _connect() -> None:
    """Joins the cluster of RAY_ADDRESS, or what `ray start` began on this machine, or
    starts a local one that ends with this process."""
    os.environ.update({k: os.environ.get(k, v) for k, v in _ENVIRONMENT.items()})
    # not "auto": it would join what another sweep's driver has started for itself
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    for tries_left in reversed(range(_STARTS)):
        try:
            ray.init(include_dashboard=False, **quiet)
            return
        except Exception as error:
            # Ray gives its processes 30 s; a bare Exception means that they took more
            if type(error) is not Exception:
                raise
            if not tries_left:
                message = "Ray did not start; --index runs single trials without it"
                raise OSError(message) from error
            ray.shutdown()
