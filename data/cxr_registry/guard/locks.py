"""One process at a time in a folder.

Locks are the kernel's (flock): those of a killed process are released with it, and a
lock file that nobody holds means nothing. Over NFS they hold between machines too.
"""

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_NAME = ".lock"
_OWNER = ".owner"  # the lock of `owned`, and who holds it
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


class Busy(ValueError):
    """Another process is at work in a folder."""

    exit_code = 3


@contextlib.contextmanager
def owned(folder: Path, *, wait: bool = False, mode: int = 0o777) -> Iterator[None]:
    """Makes this process the only one that works in a folder.

    Args:
        folder: made where it is missing.
        wait: waits for the end of a process that works there.
        mode: rights of a folder that is made, less the umask.

    Raises:
        Busy: another process works there; it says which, on which host, and since when.
    """
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    with (folder / _OWNER).open("a+") as stream:
        if not try_lock(stream):
            stream.seek(0)
            owner = _owner_in_words(stream.read())
            if not wait:
                raise Busy(
                    f"{folder} is in use by {owner}: wait for its end, end it, or give "
                    "--wait"
                )
            _log.info("%s is in use by %s: waiting for its end", folder, owner)
            fcntl.flock(stream, fcntl.LOCK_EX)
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.time(),
        }
        stream.truncate(0)
        stream.write(json.dumps(owner))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)  # the file stays: another process may have it open


def _owner_in_words(text: str) -> str:
    try:
        record = json.loads(text)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["since"]))
        return f"process {record['pid']} on {record['host']}, since {since}"
    except (ValueError, KeyError, TypeError):  # it is just writing who it is
        return "another process"


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
