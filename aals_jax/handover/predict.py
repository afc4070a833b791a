"""`--mode=predict --input`: files through a model that was handed over."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.handover import station, written
from aals_jax.handover.station import Station
from aals_jax.runtime import log
from data.reading_room import inputs
from data.reading_room.inputs import Source

TABLE = "files.csv"


def predict(desk: Station, asked: Sequence[Path]) -> bool:
    """Writes findings of every film; returns whether all of them have some.

    A second call goes on where the first one ended, and reads again what was refused
    and what has changed since.

    Args:
        desk: the model, and the folder for its findings.
        asked: files, folders, DICOMDIRs.

    Raises:
        ValueError: the folder belongs to another question.
        FileNotFoundError: what is asked for is not there.
    """
    out = desk.options.out
    tasks, paths = inputs.numbered(inputs.find(asked), out / TABLE)
    if not tasks:
        raise FileNotFoundError("--input: there is no file in what was given")
    desk.claim()
    inputs.write_table(out / TABLE, paths)
    ready = _ready(out, tasks)
    todo = [(number, film) for number, film in tasks.items() if number not in ready]
    done = f", of which {len(ready)} are done" if ready else ""
    desk.welcome(f"{len(tasks)} films{done}")
    started = time.monotonic()
    with log.progress("reading films") as update:
        for count, record in enumerate(desk.records(todo), start=1):
            ready[record["film"]] = record
            if "refused" in record and not record["is_other_kind"]:
                log.warning("film %d %s", record["film"], record["refused"])
            update(count, len(todo))
    if todo:
        seconds = time.monotonic() - started
        log.info("%.1f films a second", len(todo) / max(seconds, 1e-9))
    return desk.publish([ready[number] for number in sorted(ready)], table=TABLE)


def _ready(out: Path, tasks: Mapping[int, Source]) -> dict[int, Mapping[str, Any]]:
    """The records of films that are done and whose file has not changed since."""
    ready = {}
    for number, film in tasks.items():
        record = station.done(out, number)
        try:
            path = written.path_of(out, number, "json")
            is_newer = path.stat().st_mtime_ns >= film.path.stat().st_mtime_ns
        except OSError:
            continue
        if record is not None and is_newer:
            ready[number] = record
    return ready
