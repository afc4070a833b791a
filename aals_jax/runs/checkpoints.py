"""Checkpoints of a stage: the newest for resuming, the best for testing.

Orbax's v0 CheckpointManager writes aside and renames, so a killed save leaves nothing
that looks whole. Beside each state lies a record with a digest of both, since Orbax
restores a state with a flipped bit without a word. Host 0 alone uses this module.
"""

import dataclasses
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from aals_jax.runtime import digest, log

NEWEST = 2  # kept beside the best one, so that a damaged one has another behind it
# host 0 works alone: Orbax must not wait for the others
_ALONE = ocp.options.MultiprocessingOptions(
    primary_host=0, active_processes={0}, barrier_sync_key_prefix="host0"
)


@dataclasses.dataclass(frozen=True)
class Record:
    """What is kept with a state."""

    step: int  # completed updates
    auroc: float | None  # on validation; None: saved at a signal, before validation
    best: (
        int | None
    )  # the step with the highest AUROC up to this one; None: no such yet
    window: dict[str, Any] | None  # of history.Window, where one was open
    digest: str = ""  # SHA-256 of all this and the state

    @property
    def is_regular(self) -> bool:
        """Whether it was saved after a validation."""
        return self.auroc is not None

    def of_state(self, state: Any) -> str:
        """The digest of the record and a state, SHA-256 in hex."""
        fields = dataclasses.asdict(self) | {"digest": ""}
        return digest.of_tree(state, also=json.dumps(fields, sort_keys=True))


class _Kept(preservation.PreservationPolicy):
    """The newest ones and the best; one saved at a signal only while it is the newest.

    Saves are in the order of their steps, so a regular one takes the place of an
    earlier one that was saved at a signal.
    """

    def should_preserve(
        self,
        checkpoints: Sequence[preservation.PolicyCheckpointInfo],
        *,
        context: preservation.PreservationContext,
    ) -> Sequence[bool]:
        records = [Record(**info.metrics) for info in checkpoints]  # pyright: ignore
        regular = [r.step for r in records if r.is_regular]
        kept = {*regular[-NEWEST:], records[-1].step, records[-1].best}
        return [r.step in kept for r in records]


class Damaged(ValueError):
    """A checkpoint that can't be read, or that is not what was saved."""


class Checkpoints:
    """The checkpoints of one stage, below a folder; `close` ends their manager.

    Args:
      folder: of the stage.
      repairs: sets damaged ones aside, and deletes those that can't be continued
        without them. For the process that trains; one that only reads a folder is told
        of damage by an error.
    """

    def __init__(self, folder: Path, *, repairs: bool = False):
        self._folder = folder.absolute()
        if repairs:
            for step in self._on_disk():
                if self._read_record(step) is None:
                    self._set_aside(step, "its record can't be read")
        elif broken := [s for s in self._on_disk() if self._read_record(s) is None]:
            raise Damaged(f"checkpoint {broken[0]} of {folder.name} is damaged")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_Kept(),
                create=False,
                best_fn=lambda metrics: metrics["auroc"] or 0.0,
                enable_async_checkpointing=False,
                multiprocessing_options=_ALONE,
            ),
        )
        if repairs:
            self._repair()

    def save(
        self,
        step: int,
        state: Any,
        *,
        auroc: float | None,
        window: dict[str, Any] | None = None,
    ) -> None:
        """Saves a tree of the host.

        Args:
          step: completed updates, more than of any earlier checkpoint.
          state: the tree.
          auroc: the validation AUROC that it reached; None: a signal ended the run
            before validation, so that it is no candidate for the best.
          window: of `history.Window.open_part`.

        Raises:
          ValueError: the AUROC is nan, as with one class only.
        """
        if auroc is not None and math.isnan(auroc):
            raise ValueError(f"validation AUROC is nan at step {step}: one class only")
        best = self._best()
        if auroc is not None and (best is None or auroc >= self.auroc(best)):
            best = step
        record = Record(step, auroc, best, window)
        record = dataclasses.replace(record, digest=record.of_state(state))
        if step in self.steps():  # saved at a signal, before it was validated
            self._manager.delete(step)
        self._manager.save(
            step,
            args=ocp.args.StandardSave(state),
            metrics=dataclasses.asdict(record),
        )

    def latest(self) -> Record | None:
        """Of the newest checkpoint; None: nothing is saved yet."""
        step = self._manager.latest_step()
        return None if step is None else self._record(step)

    def steps(self) -> list[int]:
        """The steps that are kept, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int:
        """The step of the highest validation AUROC, of equal ones the latest.

        Raises:
          FileNotFoundError: nothing is saved yet.
        """
        step = self._best()
        if step is None:
            raise FileNotFoundError("no checkpoint to evaluate: train first")
        return step

    def auroc(self, step: int) -> float:
        """The validation AUROC saved with a step; nan for one without validation."""
        auroc = self._record(step).auroc
        return math.nan if auroc is None else auroc

    def restore(self, step: int, like: Any = None) -> Any:
        """The tree saved at `step`, as NumPy arrays.

        Args:
          step: one of `steps()`.
          like: a tree whose structure it takes; without it, nested dicts.

        Raises:
          Damaged: it is not what was saved.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.StandardRestore(abstract)
            )
        except PermissionError:
            raise
        except Exception as error:  # Orbax, TensorStore and JSON each have their own
            raise Damaged(
                f"checkpoint {step} of {self._folder.name} can't be read "
                f"({type(error).__name__})"
            ) from None
        state = jax.tree.map(jax.device_get, restored)
        record = self._record(step)
        if record.of_state(state) != record.digest:
            raise Damaged(
                f"checkpoint {step} of {self._folder.name} is not what was saved: its "
                "digest differs"
            )
        return state

    def close(self) -> None:
        self._manager.close()

    def _record(self, step: int) -> Record:
        record = self._read_record(step)
        if record is None:
            raise Damaged(f"checkpoint {step} of {self._folder.name} is damaged")
        return record

    def _best(self) -> int | None:
        latest = self.latest()
        return None if latest is None else latest.best

    def _on_disk(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit())

    def _read_record(self, step: int) -> Record | None:
        try:
            text = (self._folder / f"{step}" / "metrics" / "metrics").read_text()
            record = Record(**json.loads(text))
        except PermissionError:
            raise
        except (OSError, ValueError, TypeError):
            return None
        return record if record.step == step else None

    def _repair(self) -> None:
        """Leaves only checkpoints from which the stage ends in the bits that it would
        have had: the newest is whole, and so is the best one that it names."""
        for step in self.steps():
            try:
                self.restore(step)
            except Damaged as error:
                self._set_aside(step, str(error))
        self._manager.reload()
        while (latest := self.latest()) and latest.best not in (None, *self.steps()):
            log.warning(
                "checkpoint %d of %s is deleted: the best one before it, at step %d, "
                "is damaged or gone; training goes on from an earlier one",
                latest.step,
                self._folder.name,
                latest.best,
            )
            shutil.rmtree(self._folder / f"{latest.step}")
            self._manager.reload()

    def _set_aside(self, step: int, why: str) -> None:
        place = self._folder.with_name(f"{self._folder.name}-damaged")
        place.mkdir(exist_ok=True)
        number = sum(1 for _ in place.iterdir())
        (self._folder / f"{step}").rename(place / f"{number}-step{step}")
        log.warning(
            "%s; it is set aside in %s, and training goes on from an earlier one: the "
            "result will be the same",
            why,
            place.name,
        )
