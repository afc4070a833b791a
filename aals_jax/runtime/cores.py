"""Cores of this machine, each for one trial at a time."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.cxr_registry.guard import locks

_POLL_S = 0.2


@contextlib.contextmanager
def pinned(count: int) -> Iterator[tuple[int, ...]]:
    """Pins this process to cores that no other trial of this user is pinned to.

    Waits for free cores and yields their numbers. Threads that run already are pinned
    too. Without `count`, or on a system without affinity, nothing is pinned. Call it
    before JAX starts its devices, which take a thread for each core.

    Raises:
      ValueError: this process may not use as many cores.
    """
    if not count or not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    allowed = sorted(os.sched_getaffinity(0))
    if count > len(allowed):
        raise ValueError(
            f"cpus_per_trial={count}: this process may use {len(allowed)} core(s)"
        )
    while True:
        with contextlib.ExitStack() as stack:
            taken = _free_cores(stack, allowed, count)
            if len(taken) == count:
                _pin(taken)
                try:
                    yield taken
                finally:
                    _pin(allowed)
                return
        time.sleep(_POLL_S)


def _free_cores(
    stack: contextlib.ExitStack, allowed: Sequence[int], count: int
) -> tuple[int, ...]:
    """At most `count` free cores; the stack holds their locks until it ends."""
    # one folder per machine, not per sweep: two sweeps share no core either
    folder = Path(tempfile.gettempdir()) / f"aals_jax-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken = []
    for core in allowed:
        if len(taken) < count:
            stream = stack.enter_context((folder / str(core)).open("a"))
            taken += [core] if locks.try_lock(stream) else []
    return tuple(taken)


def _pin(numbers: Sequence[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
            os.sched_setaffinity(int(task.name), numbers)
