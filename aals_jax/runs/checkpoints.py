"""Checkpoints of a stage: the newest for resuming, the best for testing.

Orbax's v0 CheckpointManager writes aside and renames, so a killed save leaves nothing
that looks whole. A step's metrics are kept with it, and `best` is chosen from them.
"""

import math
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

_METRIC = "validation/auroc"


class Checkpoints:
    """The checkpoints of one stage, below a folder; `close` ends their manager."""

    def __init__(self, folder: Path):
        policy = preservation.AnyPreservationPolicy(
            [
                preservation.LatestN(1),
                preservation.BestN(get_metric_fn=lambda m: m[_METRIC], n=1),
            ]
        )
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=lambda m: m[_METRIC],
                enable_async_checkpointing=False,
            ),
        )

    def save(self, step: int, state: Any, *, auroc: float) -> None:
        """Saves a tree of the host with the validation AUROC that it reached.

        Raises:
          ValueError: the AUROC is nan, as with one class only.
        """
        if math.isnan(auroc):
            raise ValueError(f"validation AUROC is nan at step {step}: one class only")
        self._manager.save(
            step, args=ocp.args.StandardSave(state), metrics={_METRIC: auroc}
        )

    def latest_step(self) -> int | None:
        """The newest step; None: nothing is saved yet."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """The steps that are kept, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int:
        """The step of the highest validation AUROC.

        Raises:
          FileNotFoundError: nothing is saved yet.
        """
        step = self._manager.best_step()
        if step is None:
            raise FileNotFoundError("no checkpoint to evaluate: train first")
        return step

    def auroc(self, step: int) -> float:
        """The validation AUROC saved with a step."""
        return float(self._manager.metrics(step)[_METRIC])  # pyright: ignore[reportOptionalSubscript]

    def restore(self, step: int, like: Any = None) -> Any:
        """The tree saved at `step`, as NumPy arrays.

        Args:
          step: one of `steps()`.
          like: a tree whose structure it takes; without it, nested dicts.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        return jax.tree.map(jax.device_get, restored)

    def close(self) -> None:
        self._manager.close()
