"""A dataset appears whole or not at all: draft folder, lock, sync, rename."""

import contextlib
import fcntl
import io
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_log = logging.getLogger("aals_jax")
_STAGING = ".staging-"
_KEPT_S = 14 * 24 * 3600.0  # of a killed build's finished shards


def folder(home: Path, name: str) -> Path:
    """Where a build of that name is drafted, without what a kill cut off."""
    draft = home / f"{_STAGING}{name}"
    for cut_off in draft.glob(".[0-9]*"):  # of shards.write
        cut_off.unlink()
    return draft


@contextlib.contextmanager
def lock(home: Path) -> Iterator[None]:
    """One build at a time below a data_dir; the kernel frees a killed one's lock."""
    # health data: where the user makes no folder with rights of his own, the owner's
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("another build is at work in that folder: waiting for its end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def remove_old(home: Path) -> None:
    """Drafts that nobody has gone on with for a long time; only under the lock."""
    for path in home.glob(f"{_STAGING}*"):
        if time.time() - path.stat().st_mtime > _KEPT_S:
            shutil.rmtree(path)


def sync(*paths: Path) -> None:
    """Bytes before names: a power cut must not leave a named but empty file."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Without TFDS's prints and its remark on every config that is not listed."""
    logger = logging.getLogger("absl")

    def is_news(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Using custom data configuration")

    logger.addFilter(is_news)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.removeFilter(is_news)
