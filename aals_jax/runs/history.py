"""What a stage records of its steps: metrics.jsonl, TensorBoard, and alarms.

Metrics are summed on the device (of a largest value the larger one stays) and fetched
once a window, from one log point to the next. In between, the host waits for the device
only so as not to be more than IN_FLIGHT steps, and their batches, ahead of it.
"""

import collections
import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorboardX

from aals_jax.method import monitors
from aals_jax.runtime import files, log
from aals_jax.types import Metrics

IN_FLIGHT = 2  # steps
DEAD_STEPS = 100  # without a distillation gradient, before the alarm


@jax.jit
def _add(a: Metrics, b: Metrics) -> Metrics:
    return {
        name: (jnp.maximum if name == monitors.LARGEST else jnp.add)(a[name], b[name])
        for name in a
    }


class Window:
    """Metrics between two log points: summed on the device, fetched once.

    Args:
      stage: its name, for messages.
    """

    def __init__(self, stage: str):
        self._stage = stage
        self._dead = 0  # steps in a row without a distillation gradient
        self._in_flight: collections.deque = collections.deque()
        self.restart()

    def restart(self) -> None:
        """Begins a window; also after validation, whose time is not training's."""
        self._sums: Any = None
        self._steps = 0
        self._waited = 0.0
        self._started = time.monotonic()

    def open_part(self) -> dict[str, Any]:
        """What is summed since the window began, exactly, for `resume`."""
        sums = {} if self._sums is None else jax.device_get(self._sums)
        return {
            "steps": self._steps,
            "dead": self._dead,
            "sums": {name: float(value) for name, value in sums.items()},
        }

    def resume(self, part: Mapping[str, Any]) -> None:
        """Goes on with a window that `open_part` described."""
        self._steps, self._dead = part["steps"], part["dead"]
        sums = {name: np.float32(value) for name, value in part["sums"].items()}
        self._sums = sums or None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts what happens inside as waiting for data."""
        started = time.monotonic()
        yield
        self._waited += time.monotonic() - started

    def add(self, metrics: Any) -> None:
        """Adds a step's metrics: name -> f32[], replicated on the devices."""
        self._sums = metrics if self._sums is None else _add(self._sums, metrics)
        self._steps += 1
        self._in_flight.append(self._sums)
        if len(self._in_flight) > IN_FLIGHT:
            jax.block_until_ready(self._in_flight.popleft())

    def close(self, step: int) -> dict[str, float]:
        """The means of the window that ends with `step`, of `monitors.LARGEST` the
        largest; begins the next one.

        Raises:
          FloatingPointError: a loss is not finite.
        """
        sums = jax.device_get(self._sums)
        values = {
            name: float(v) / (1 if name == monitors.LARGEST else self._steps)
            for name, v in sums.items()
        }
        elapsed = time.monotonic() - self._started
        if not np.isfinite(values["loss/total"]):
            names = sorted(n for n, v in values.items() if not np.isfinite(v))
            raise FloatingPointError(
                f"{self._stage}: {', '.join(names)} not finite within the "
                f"{self._steps} steps up to {step}; lower the learning rate, or look "
                "at the images. The newest checkpoint is intact."
            )
        self._watch_gradient(values, step)
        values["time/data_wait_share"] = self._waited / elapsed
        values["time/steps_per_s"] = self._steps / elapsed
        self.restart()
        return values

    def _watch_gradient(self, values: dict[str, float], step: int) -> None:
        if values.get("pseudo/distill_grad_norm", 1.0) > 0.0:
            self._dead = 0
            return
        self._dead += self._steps
        if self._dead >= DEAD_STEPS:
            log.warning(
                "ALARM: the distillation term has had no gradient for %d steps (step "
                "%d): the teacher and the student agree everywhere, or the term is "
                "disconnected",
                self._dead,
                step,
            )


class History:
    """metrics.jsonl and TensorBoard of a stage; rows of steps done again are replaced.

    Args:
      workdir: of the run.
      stage: its name, in every row.
      step: the last one whose rows stay; 0 at the start of the stage.
      writes: whether this host does; of several that share a workdir, one.
    """

    def __init__(self, workdir: Path, stage: str, *, step: int, writes: bool = True):
        self._writes = writes
        if not writes:
            return
        self._path = workdir / "metrics.jsonl"
        self._stage = stage
        rows = [r for r in read_history(workdir) if self._is_kept(r, step)]
        files.write_text(self._path, "".join(json.dumps(row) + "\n" for row in rows))
        self._file = self._path.open("a")
        self._board = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard" / stage), purge_step=step + 1
        )

    def _is_kept(self, row: Mapping[str, Any], step: int) -> bool:
        return row["stage"] != self._stage or row["step"] <= step

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a row, which is on disk when this returns."""
        if not self._writes:
            return
        row = {"stage": self._stage, "step": step, **values}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if not self._writes:
            return
        self._file.close()
        self._board.close()


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl; none where it has not begun."""
    return files.read_rows(workdir / "metrics.jsonl")
