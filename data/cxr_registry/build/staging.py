"""A dataset appears whole or not at all: its draft folder, and one build at a time."""

import contextlib
import io
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from data.cxr_registry.guard import locks

_STAGING = ".staging-"
_KEPT_S = 14 * 24 * 3600.0  # how long finished shards of a killed build are kept


def folder(home: Path, name: str) -> Path:
    """The draft folder of that build, cleared of files that a kill cut off."""
    draft = home / f"{_STAGING}{name}"
    for cut_off in draft.glob(".[0-9]*"):  # drafts of shards.write
        cut_off.unlink()
    return draft


def lock(home: Path) -> contextlib.AbstractContextManager[None]:
    """Lets one build at a time work below a data_dir; others wait and say so."""
    return locks.held(
        home,
        mode=0o700,  # health data: a folder that the build makes is its owner's alone
        notice="another build is at work in that folder: waiting for its end",
    )


def remove_old(home: Path) -> None:
    """Removes drafts that no build has continued for long; only under the lock."""
    for path in home.glob(f"{_STAGING}*"):
        if time.time() - path.stat().st_mtime > _KEPT_S:
            shutil.rmtree(path)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Hides TFDS's prints and its remark on every config that is not listed."""
    logger = logging.getLogger("absl")

    def is_news(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Using custom data configuration")

    logger.addFilter(is_news)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.removeFilter(is_news)
