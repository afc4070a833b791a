"""A trial of a sweep on disk: its config, its state, its progress, the end of its log.

All of it is read from the trial's own folder, so a driver, the next driver after a
kill, a Slurm array and a person who looks into the folder see the same.
"""

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.evaluation.result import RUN_FILE
from aals_jax.runs.history import read_history
from aals_jax.runtime import files, stopping
from aals_jax.types import SELECTED_BY, STAGES
from data.cxr_registry.guard import locks

# finished; at work; ended with an error; stopped by a search's scheduler; begun but
# killed; not begun
STATES = ("done", "running", "failed", "stopped", "interrupted", "waiting")
_LAST_LINES = 12


@dataclasses.dataclass(frozen=True)
class Progress:
    """The newest row of a trial's history."""

    stage: str = ""  # one of STAGES; "" before the first row
    step: int = 0  # updates of this stage so far
    steps: int = 0  # updates of both stages so far
    total: int = 0  # updates that both stages will have
    auroc: float | None = None  # best validation AUROC in this stage
    seconds_left: float | None = None  # of training, at the newest pace


@dataclasses.dataclass(frozen=True)
class Trial:
    """One config of a sweep."""

    index: int  # in the order in which a sweep runs them
    name: str  # hash of the config's identity
    label: str  # `differing` in short, for tables and logs
    differing: Mapping[str, Any]  # dotted field -> value, where the trials differ
    fields: Mapping[str, Any]  # the frozen config, nested
    first_stage: str | None  # hash of the stage 1 that it may share; None: has its own
    root: Path  # the sweep's folder

    @property
    def folder(self) -> Path:
        """The workdir of its run."""
        return self.root / "trials" / self.name

    @property
    def log(self) -> Path:
        """Output of its process."""
        return self.folder / "log.txt"

    @property
    def is_done(self) -> bool:
        return (self.folder / RUN_FILE).exists()

    def freeze(self) -> None:
        """Writes the trial into its folder, where the process that runs it reads it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = dataclasses.asdict(self)
        del record["root"]
        files.write_json(self.folder / "trial.json", record)

    @contextlib.contextmanager
    def attempt(self, cores: Sequence[int]) -> Iterator[None]:
        """Notes the start and the end of an attempt; of a killed one only the start."""
        self.note("start", cores=list(cores), pid=os.getpid())
        try:
            yield
        except stopping.Stopped:
            raise  # by a signal: the attempt was interrupted and did not fail
        except BaseException:
            self.note("failed")
            raise
        self.note("done")

    def note(self, event: str, **facts: Any) -> None:
        """Adds an event to the trial's list of attempts."""
        row = {"event": event, "time": round(time.time(), 3), **facts}
        with (self.folder / "attempts.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def attempts(self) -> list[dict[str, Any]]:
        return files.read_rows(self.folder / "attempts.jsonl")

    def state(self) -> str:
        """One of STATES."""
        if self.is_done:
            return "done"
        if locks.is_held(self.folder):
            return "running"
        rows = self.attempts()
        event = rows[-1]["event"] if rows else "none"
        states = {"none": "waiting", "failed": "failed", "stopped": "stopped"}
        return states.get(event, "interrupted")

    def progress(self) -> Progress:
        """How far it is, by its own history or that of the stage 1 that it shares."""
        rows = read_history(self.folder)
        if not rows and self.first_stage:  # it trains stage 1 for others too
            rows = read_history(self.root / "shared" / self.first_stage)
        steps_of = {stage: self.fields[stage]["steps"] for stage in STAGES}
        total = sum(steps_of.values())
        if not rows:
            return Progress(total=total)
        stage, step = rows[-1]["stage"], rows[-1]["step"]
        steps = step + sum(steps_of[s] for s in STAGES[: STAGES.index(stage)])
        key = f"validation/auroc_{SELECTED_BY[stage]}"
        aurocs = [r[key] for r in rows if r["stage"] == stage and key in r]
        pace = [r["time/steps_per_s"] for r in rows if r.get("time/steps_per_s")]
        return Progress(
            stage=stage,
            step=step,
            steps=steps,
            total=total,
            auroc=max(aurocs, default=None),
            seconds_left=(total - steps) / pace[-1] if pace else None,
        )

    def last_lines(self) -> str:
        """The end of its log, or why there is none."""
        if not self.log.exists():
            return "no log was written"
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:]) or "the log is empty"


def read(root: Path, name: str) -> Trial:
    """The trial that was frozen in its folder.

    Raises:
      ValueError: there is none, or its file is damaged.
    """
    path = root / "trials" / name / "trial.json"
    try:
        return Trial(**json.loads(path.read_text()), root=root)
    except FileNotFoundError:
        raise ValueError(f"--trial={name}: the sweep's folder has none") from None
    except (ValueError, TypeError):
        raise ValueError(
            f"trial.json of {name} is damaged; run the sweep again to rewrite it"
        ) from None


def read_all(root: Path) -> list[Trial]:
    """All frozen trials of a sweep's folder, in the order to run them."""
    names = (path.parent.name for path in (root / "trials").glob("*/trial.json"))
    return sorted((read(root, name) for name in names), key=lambda t: t.index)
