"""Metrics on their way from the device: summed there, fetched once a window, watched.

Nothing here waits for the device between two log points, except to keep no more than
IN_FLIGHT steps (and their batches) ahead of it.
"""

import collections
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aals_jax.runtime import devices, log

IN_FLIGHT = 2  # steps
DEAD_STEPS = 100  # without a distillation gradient, before the alarm


@jax.jit
def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


class Window:
    """Metrics between two log points: summed on the device, fetched once."""

    def __init__(self, stage: str):
        self._stage = stage
        self._dead = 0
        self._in_flight: collections.deque = collections.deque()
        self.restart()

    def restart(self) -> None:
        """Begins a window; also after validation, whose time is not training's."""
        self._sums: Any = None
        self._steps = 0
        self._waited = 0.0
        self._started = time.monotonic()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts what happens inside as waiting for data."""
        started = time.monotonic()
        yield
        self._waited += time.monotonic() - started

    def add(self, metrics: Any) -> None:
        self._sums = metrics if self._sums is None else _add(self._sums, metrics)
        self._steps += 1
        self._in_flight.append(self._sums)
        if len(self._in_flight) > IN_FLIGHT:
            jax.block_until_ready(self._in_flight.popleft())

    def close(self, step: int) -> dict[str, float]:
        """The window's means; raises FloatingPointError on a non-finite loss."""
        sums = devices.to_host(self._sums)
        values = {name: float(v) / self._steps for name, v in sums.items()}
        elapsed = time.monotonic() - self._started
        if not np.isfinite(values["loss/total"]):
            bad = sorted(n for n, v in values.items() if not np.isfinite(v))
            raise FloatingPointError(
                f"{self._stage}: {', '.join(bad)} not finite within the {self._steps} "
                f"steps up to {step}; lower the learning rate, or look at the images. "
                "The newest checkpoint is intact."
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
            log.log.warning(
                "ALARM: the distillation term has had no gradient for %d steps (step "
                "%d): the teacher and the student agree everywhere, or the term is "
                "disconnected",
                self._dead,
                step,
            )
