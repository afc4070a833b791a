"""A trial of a sweep on disk: what it is, how far it has come, what it last said.

All of it is read from the trial's own folder, so that a driver, its successor, a Slurm
array and a person looking in see the same.
"""

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.runs.history import read_history
from aals_jax.runtime import files
from aals_jax.types import SELECTED_BY
from data.cxr_registry.guard import locks

# what a trial can be: finished, at work, ended with an error, ended by the scheduler,
# begun and interrupted, not begun
STATES = ("done", "running", "failed", "stopped", "interrupted", "waiting")
_LAST_LINES = 12


@dataclasses.dataclass(frozen=True)
class Progress:
    """The newest row of a trial's history."""

    stage: str = ""  # "pretrain", "distill", or "" before the first row
    step: int = 0  # of the stage
    steps: int = 0  # of both stages, done so far
    total: int = 0  # of both stages
    auroc: float | None = None  # best of validation in this stage
    seconds_left: float | None = None  # of training, at the pace of the newest row


@dataclasses.dataclass(frozen=True)
class Trial:
    """One config of a sweep."""

    index: int  # in the order in which a sweep runs them
    name: str  # hash of the config's identity
    label: str  # the fields in which the trials of the sweep differ
    differing: Mapping[str, Any]  # dotted name -> value, the same
    fields: Mapping[str, Any]  # the frozen config, nested
    first_stage: str | None  # names the stage 1 that it shares; None: its own
    root: Path  # the sweep's folder

    @property
    def folder(self) -> Path:
        """The workdir of its run."""
        return self.root / "trials" / self.name

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def is_done(self) -> bool:
        return (self.folder / "result.json").exists()

    def freeze(self) -> None:
        """Keeps the trial in its folder, for the process that runs it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = dataclasses.asdict(self)
        del record["root"]
        files.write_json(self.folder / "trial.json", record)

    @contextlib.contextmanager
    def attempt(self, cores: Sequence[int]) -> Iterator[None]:
        """Notes that it starts and how it ends; a killed one leaves its start alone."""
        self.note("start", cores=list(cores), pid=os.getpid())
        try:
            yield
        except BaseException:
            self.note("failed")
            raise
        self.note("done")

    def note(self, event: str, **facts: Any) -> None:
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
        rows = read_history(self.folder)
        if not rows and self.first_stage:  # it trains stage 1 for others too
            rows = read_history(self.root / "shared" / self.first_stage)
        pretrain, distill = (self.fields[s]["steps"] for s in ("pretrain", "distill"))
        total = pretrain + distill
        if not rows:
            return Progress(total=total)
        stage, step = rows[-1]["stage"], rows[-1]["step"]
        steps = step + (pretrain if stage == "distill" else 0)
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
    """The trial that a driver has frozen."""
    path = root / "trials" / name / "trial.json"
    try:
        return Trial(**json.loads(path.read_text()), root=root)
    except FileNotFoundError:
        raise ValueError(f"--trial={name}: the sweep's folder has none") from None
    except (ValueError, TypeError):
        raise ValueError(f"trial.json of {name} is damaged: start the sweep") from None


def read_all(root: Path) -> list[Trial]:
    """All frozen trials below a sweep's folder, in their order."""
    names = (path.parent.name for path in (root / "trials").glob("*/trial.json"))
    return sorted((read(root, name) for name in names), key=lambda t: t.index)
