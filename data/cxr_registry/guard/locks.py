"""One process at a time in a folder.

Locks are the kernel's (flock): those of a killed process are released with it, and a
lock file that nobody holds means nothing. Over NFS they hold between machines too.
"""

import contextlib
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_NAME = ".lock"
_log = logging.getLogger("aals_jax")


@contextlib.contextmanager
def held(folder: Path, *, mode: int = 0o777, notice: str = "") -> Iterator[None]:
    """Holds the folder's lock; waits while another process holds it.

    Args:
        folder: made where it is missing.
        mode: rights of a folder that is made, less the umask.
        notice: logged where there is something to wait for.
    """
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    with (folder / _NAME).open("a") as stream:
        if not try_lock(stream):
            if notice:
                _log.info(notice)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def held_now(folder: Path, *, message: str) -> Iterator[None]:
    """As `held`, but raises ValueError(message) instead of waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("a") as stream:
        if not try_lock(stream):
            raise ValueError(message)
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds the folder's lock."""
    try:
        with (folder / _NAME).open() as stream:
            return not try_lock(stream, shared=True)
    except FileNotFoundError:
        return False


def try_lock(stream: IO[str], *, shared: bool = False) -> bool:
    """Locks an open file until it is closed; False where another process holds it."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
