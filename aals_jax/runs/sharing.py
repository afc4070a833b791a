"""Stage 1, trained once for all runs that have it in common.

A run that takes it over ends in the same bytes as one that trains it itself: its state
is a function of the fields that the runs share, and its checkpoints, history and curves
are copied whole.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aals_jax import types
from aals_jax.method.methods import METHODS
from aals_jax.runs import identity
from aals_jax.runtime import files, log
from data.cxr_registry.guard import atomic, locks

# Fields that stage 1 does not read where the method trains in two stages. Validation,
# which chooses its checkpoint, reads the others of `evaluation`.
UNREAD = (
    "method",
    "distill",
    "batch.image_level",
    "evaluation.replicates",
    "evaluation.seed",
    "evaluation.threshold",
    "evaluation.detections",
    "evaluation.min_distance",
    "evaluation.max_detections",
)
_STAGE = types.STAGES[0]


def key(config: Any) -> str | None:
    """A name for stage 1, equal for all runs that can share it; None: none can."""
    if METHODS[config.method].from_start:
        return None  # the method trains with its own loss already in stage 1
    fields = identity.of(config)
    for name in UNREAD:
        section, _, field = name.partition(".")
        if field:
            fields[section].pop(field)
        else:
            fields.pop(section)
    return identity.digest(fields)


def take_over(
    folder: Path, workdir: Path, data_hash: str, make: Callable[[Path], Any]
) -> None:
    """Puts a finished stage 1 into a workdir that has not begun one.

    Args:
      folder: of the shared stage. The first run that comes trains it there while the
        others wait.
      workdir: of the run. Afterwards it is complete without the shared folder.
      data_hash: of the run's data.
      make: trains what is missing of stage 1 in the folder that it is given.

    Raises:
      ValueError: the shared stage was trained on other data.
    """
    begun = workdir / "checkpoints" / _STAGE
    if begun.exists():
        return
    with locks.held(folder):
        _check_data(folder, data_hash)
        make(folder)
    workdir.mkdir(parents=True, exist_ok=True)
    _copy(folder / "metrics.jsonl", workdir / "metrics.jsonl")
    _copy(folder / "tensorboard", workdir / "tensorboard")
    # last: what makes the stage count as begun here
    _copy(folder / "checkpoints" / _STAGE, begun)
    log.info("stage 1 is taken over from %s", folder.name)


def _check_data(folder: Path, data_hash: str) -> None:
    path = folder / "data.json"
    if not path.exists():
        files.write_json(path, {"data_hash": data_hash})
    shared_hash = json.loads(path.read_text())["data_hash"]
    if shared_hash != data_hash:
        raise ValueError(
            f"the shared stage 1 {folder.name} was trained on other data (data_hash "
            f"{shared_hash[:12]} there, {data_hash[:12]} now); choose another --workdir"
        )


def _copy(source: Path, target: Path) -> None:
    """Copies a file or a tree, whole or not at all; a tree's files by hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        aside = target.with_name(target.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)  # left by a run that was killed here
        # checkpoints are never written in place, so that a link is as good as a copy
        shutil.copytree(source, aside, copy_function=_link_file)
        os.replace(aside, target)
    else:
        with atomic.replacing(target) as draft:
            shutil.copyfile(source, draft)  # no link: the run goes on writing its own


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
