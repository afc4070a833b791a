"""Who may: one process at a time in a folder, one trial at a time on a core.

Locks are the kernel's (flock): a killed process has let go of its own, and a lock file
without a holder means nothing. Over NFS they hold between machines too.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_NAME = ".lock"
_POLL_S = 0.2


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Waits until nobody else is in the folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def held_now(folder: Path, *, told: str) -> Iterator[None]:
    """As `held`, but raises ValueError with the words `told` instead of waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("a") as stream:
        if not _try(stream):
            raise ValueError(told)
        yield


def is_held(folder: Path) -> bool:
    """Whether a process is in the folder."""
    try:
        with (folder / _NAME).open() as stream:
            return not _try(stream, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def cores(count: int) -> Iterator[tuple[int, ...]]:
    """Pins this process to `count` cores that no other trial of this machine and user
    is pinned to, and waits for them; yields their numbers.

    Threads made before are pinned too. 0, or a system without affinity: no pinning. To
    be called before JAX starts its devices, which take a thread for each core.

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
    """At most `count` cores; their locks are held until the stack ends."""
    # of the machine, not of the sweep: two sweeps on one machine keep apart as well
    folder = Path(tempfile.gettempdir()) / f"aals_jax-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    taken = []
    for core in allowed:
        if len(taken) < count:
            stream = stack.enter_context((folder / str(core)).open("a"))
            taken += [core] if _try(stream) else []
    return tuple(taken)


def _try(stream, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pin(numbers: Sequence[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
            os.sched_setaffinity(int(task.name), numbers)
