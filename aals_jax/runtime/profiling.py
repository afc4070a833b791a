"""Traces of some steps, for TensorBoard's profile plugin."""

from pathlib import Path
from typing import Any

import jax

from aals_jax.runtime import log


class Profile:
    """Traces the steps from `first` to `last`; a context manager, which ends a trace
    that an error or a stop left open.

    Args:
      folder: `plugins/profile/TIME` is made in it.
      first: the first step that is traced, from 1; 0: none is.
      last: the last one.
    """

    def __init__(self, folder: Path, *, first: int, last: int):
        self.folder, self.first, self.last = folder, first, last
        self.is_open = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_open:
            self.is_open = False
            jax.profiler.stop_trace()
            log.info("profile: tensorboard --logdir %s", self.folder)

    def before(self, step: int, state: Any) -> None:
        """Begins the trace where it is due, after all that was begun before `step`.

        Args:
          step: the number of the step that comes, from 1.
          state: of the step before.
        """
        if not self.is_open and 1 <= self.first <= step <= self.last:
            jax.block_until_ready(state)
            jax.profiler.start_trace(str(self.folder))
            self.is_open = True

    def after(self, step: int, state: Any) -> None:
        """Ends the trace after its last step, which it waits for."""
        if self.is_open and step >= self.last:
            jax.block_until_ready(state)
            self.__exit__()
