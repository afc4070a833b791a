"""`--mode=predict`: films through a model that was handed over.

Processes decode, the net works on batches, processes write. Each film's JSON is written
last of its files, so that a second call goes on where the first one ended.
"""

import collections
import dataclasses
import functools
import importlib.util
import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax import __version__
from aals_jax.evaluation import model_maps
from aals_jax.handover import findings, folder, preprocessing, written
from aals_jax.handover.folder import Model
from aals_jax.report import predictions_page
from aals_jax.runs import stages
from aals_jax.runtime import devices, files, log, provenance, stopping
from data.cxr_registry.guard import pool
from data.reading_room import films, inputs, source
from data.reading_room.films import Film, Refused
from data.reading_room.inputs import Source

TABLE, SETTINGS, SUMMARY, PAGE = (
    "files.csv", "settings.json", "predictions.json", "index.html"
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for; see `launch.py --mode=predict --help`."""

    asked: Sequence[Path]
    out: Path
    point: str = ""  # name of an operating point; "": the first of lesions
    allow: tuple[str, ...] = ()
    batch_size: int | None = None  # images; None: that of the run's evaluation
    workers: int = 2  # processes that decode, and as many that write
    timeout_s: float = 60.0
    sr: bool = False  # SR and Secondary Capture of films that are DICOM
    uid_root: str = source.UUID_ROOT
    deterministic: bool = False  # UIDs by hash, dates of the study


def predict(
    model_folder: Path, options: Options, *, load_config: Callable[[dict], Any]
) -> bool:
    """Writes findings of every film; returns whether all of them have some.

    Raises:
        ValueError: the model is not whole, the folder belongs to another question.
        FileNotFoundError: what is asked for is not there.
    """
    model = folder.load(model_folder, load_config=load_config)
    _answers(model, options)  # what can't be made is told before films are read
    point = findings.point_named(model, options.point)
    tasks, paths = inputs.numbered(inputs.find(options.asked), options.out / TABLE)
    if not tasks:
        raise FileNotFoundError("--input: there is no file in what was given")
    _claim(model, options, point)
    inputs.write_table(options.out / TABLE, paths)
    (options.out / written.FILMS).mkdir(exist_ok=True)
    ready = _records(options.out, tasks)
    todo = {number: film for number, film in tasks.items() if number not in ready}
    log.info(
        "%s, %d films%s, on %s. %s", model.title, len(tasks),
        f", of which {len(ready)} are done" if ready else "", devices.describe(),
        provenance.DISCLAIMER,
    )  # fmt: skip
    started = time.monotonic()
    with log.progress("reading films") as update:
        for done, record in enumerate(_work(model, options, point, todo), start=1):
            ready[record["film"]] = record
            if "refused" in record and not record["is_other_kind"]:
                log.warning("film %d %s", record["film"], record["refused"])
            update(done, len(todo))
    if todo:
        seconds = time.monotonic() - started
        log.info("%.1f films a second", len(todo) / max(seconds, 1e-9))
    return _publish(model, options, point, [ready[number] for number in sorted(ready)])


def _claim(model: Model, options: Options, point: str) -> None:
    """Ties the folder to one question, so that its films are comparable."""
    settings = {
        "format": findings.FORMAT,
        "disclaimer": provenance.DISCLAIMER,
        "model": model.title,
        "manifest_sha256": model.digest,
        "reported_from": point,
        "allow": sorted(_allow(model, options)),
        "sr": options.sr,
        "uid_root": options.uid_root if options.sr else None,
        "deterministic": options.deterministic and options.sr,
    }
    path = options.out / SETTINGS
    if path.exists():
        try:
            there = json.loads(path.read_text())
        except ValueError:
            there = None
        if there != settings:
            raise ValueError(
                f"{options.out} has films of another model or of other options: choose "
                "another --out or delete it"
            )
    else:
        files.write_json(path, settings)


def _allow(model: Model, options: Options) -> set[str]:
    return {*options.allow, *model.preprocessing.allow}


def _records(out: Path, tasks: Mapping[int, Source]) -> dict[int, dict[str, Any]]:
    """The records of films that are done and whose file has not changed since."""
    ready = {}
    for number, film in tasks.items():
        path = written.path_of(out, number, "json")
        try:
            record = json.loads(path.read_text())
            is_newer = path.stat().st_mtime_ns >= film.path.stat().st_mtime_ns
            if record["film"] == number and "refused" not in record and is_newer:
                ready[number] = record
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not done, or cut off: it is done again
    return ready


def _work(
    model: Model, options: Options, point: str, todo: Mapping[int, Source]
) -> Generator[dict[str, Any], None, None]:
    """The record of every film that is to be done, in order."""
    prepared = model.preprocessing
    reading = films.Reading(
        side=prepared.side,
        bits=prepared.bits,
        allow=tuple(sorted(_allow(model, options) & {"modality"})),
        timeout_s=options.timeout_s,
    )
    read = films.read_all(todo.items(), reading=reading, workers=options.workers)
    return pool.map_in_order(
        functools.partial(
            written.write, out=options.out, answers=_answers(model, options)
        ),
        _judged(model, options, point, read, todo),
        workers=options.workers,
        timeout_s=options.timeout_s,
        on_timeout=functools.partial(_not_written, out=options.out),
    )


def _answers(model: Model, options: Options) -> written.Answers | None:
    """How DICOM objects are made; None where none are asked for.

    Raises:
        ValueError: what makes them is not installed, or the root of UIDs is none.
    """
    if not options.sr:
        return None
    if importlib.util.find_spec("highdicom") is None:
        raise ValueError(
            "DICOM SR needs highdicom: pip install -r requirements/sr.txt, or give "
            "--nosr"
        )
    making = source.Making(
        uid_root=options.uid_root,
        deterministic=options.deterministic,
        seed=model.digest,
    )
    return written.Answers(making, __version__)


def _not_written(job: written.Job | Refused, *, out: Path) -> dict[str, Any]:
    number = job.number if isinstance(job, Refused) else job.film.number
    reason = "its findings could not be written: the process was lost; call again"
    return written.refuse(Refused(number, reason), out=out)


def _judged(
    model: Model,
    options: Options,
    point: str,
    read: Iterable[Film | Refused],
    sources: Mapping[int, Source],
) -> Generator[written.Job | Refused, None, None]:
    """What the net says of each film, in order; films are asked for in batches."""
    size = options.batch_size or model.config.evaluation.batch_size
    predictor = model_maps.Predictor(
        stages.make_model(model.config, axis_name=None),
        batch_size=size,
        detect=stages.make_detect(model.config),
    )
    placed = predictor.place(model.variables)
    waiting: collections.deque[Film | Refused] = collections.deque()
    for one in read:
        waiting.append(one)
        if sum(isinstance(other, Film) for other in waiting) == size:
            yield from _batch(model, predictor, placed, waiting, size, point, sources)
            waiting.clear()
    yield from _batch(model, predictor, placed, waiting, size, point, sources)


def _batch(
    model: Model,
    predictor: model_maps.Predictor,
    placed: Any,
    waiting: Sequence[Film | Refused],
    size: int,
    point: str,
    sources: Mapping[int, Source],
) -> list[written.Job | Refused]:
    """Of at most `size` films; a batch that is not full is filled up with air."""
    stopping.check()
    asked = [one for one in waiting if isinstance(one, Film)]
    if not asked:
        return [one for one in waiting if isinstance(one, Refused)]
    side = model.preprocessing.side
    images = np.zeros((size, side, side, 1), np.float32)
    for place, film in zip(images, asked, strict=False):
        place[...] = preprocessing.to_input(film.square)
    outputs = predictor.batch(placed, images)[: len(asked)]
    content = np.stack([film.content for film in asked])
    prediction = predictor.prediction(outputs, content, side=side)
    scores = prediction.image_scores(model.preprocessing.detecting.pooling)
    boxes = findings.boxes_of(prediction, model)
    judged = {}
    for k, film in enumerate(asked):
        record = findings.record(
            film, model, score=float(scores[k]), boxes=boxes[k], point=point
        )
        reported = [box["reported"] for box in record["boxes"]]
        judged[film.number] = written.Job(
            film,
            sources[film.number].path,
            record,
            prediction.maps[k],
            boxes[k][np.array(reported, bool)],
        )
    return [one if isinstance(one, Refused) else judged[one.number] for one in waiting]


def _publish(
    model: Model, options: Options, point: str, records: Sequence[dict[str, Any]]
) -> bool:
    """Writes summary and page, says how many there are; whether none is refused."""
    found = [record for record in records if "refused" not in record]
    found.sort(key=lambda record: (-record["score"], record["film"]))
    refused = [record for record in records if "refused" in record]
    other = [record for record in refused if record["is_other_kind"]]
    counts = {
        "films": len(found),
        "flagged": sum(not record["in_distribution"] for record in found),
        "with_boxes": sum(
            any(box["reported"] for box in record["boxes"]) for record in found
        ),
        "refused": len(refused) - len(other),
        "other_files": len(other),
    }
    summary = {
        "format": findings.FORMAT,
        "disclaimer": provenance.DISCLAIMER,
        "model": {"title": model.title, "manifest_sha256": model.digest},
        "finding": model.finding,
        "reported_from": point,
        "counts": counts,
        "films": found,
        "refused": refused,
        "versions": provenance.versions(),
    }
    files.write_text(options.out / PAGE, predictions_page.render(summary))
    files.write_json(options.out / SUMMARY, summary)
    log.info(
        "%(films)d films read, %(with_boxes)d with a reported box, %(flagged)d flagged "
        "as beyond the model; %(refused)d refused; %(other_files)d files of other kind",
        counts,
    )
    log.info("the page: %s", options.out / PAGE)
    log.info("which film is which file: %s", options.out / TABLE)
    return not counts["refused"]
