"""A model at work on films: checked, loaded and compiled once, asked many times.

Processes decode, the net works on batches, processes write. Each film's JSON is written
last of its files, so that what was interrupted goes on where it ended.
"""

import collections
import dataclasses
import functools
import importlib.util
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax import __version__
from aals_jax.evaluation import model_maps
from aals_jax.handover import findings, folder, preprocessing, written
from aals_jax.report import predictions_page
from aals_jax.runs import stages
from aals_jax.runtime import devices, files, log, provenance, stopping
from data.cxr_registry.guard import pool
from data.reading_room import films, source
from data.reading_room.films import Film, Refused
from data.reading_room.inputs import Source

_AHEAD = 2  # films for each process, beyond a batch
SETTINGS, SUMMARY, PAGE = "settings.json", "predictions.json", "index.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How films are read and answered; see `launch.py --mode=predict --help`."""

    out: Path
    point: str = ""  # name of an operating point; "": the first of lesions
    allow: tuple[str, ...] = ()
    batch_size: int | None = None  # images; None: that of the run's evaluation
    workers: int = 2  # processes that decode, and as many that write
    timeout_s: float = 60.0
    sr: bool = False  # SR and Secondary Capture of films that are DICOM
    presentation: bool = False  # with them a Softcopy Presentation State
    uid_root: str = source.UUID_ROOT
    same_uids: bool = False  # of the same film: UIDs by hash
    same_dates: bool = False  # of objects: those of the study


class Station:
    """One model, one folder, one question.

    Args:
        model_folder: that `--mode=export` wrote.
        options: what is asked.
        load_config: makes a config of its fields.

    Raises:
        ValueError: the model is not whole, or what is asked can't be made; told before
            a film is read.
    """

    def __init__(
        self,
        model_folder: Path,
        options: Options,
        *,
        load_config: Callable[[dict], Any],
    ):
        self.options = options
        self.model = folder.load(model_folder, load_config=load_config)
        self.point = findings.point_named(self.model, options.point)
        self._answers = self._make_answers()
        self._size = options.batch_size or self.model.config.evaluation.batch_size

    def claim(self, **more: Any) -> None:
        """Ties the folder to one question, so that its films are comparable.

        Args:
            more: what else the question is, by name.

        Raises:
            ValueError: the folder belongs to another question.
        """
        options = self.options
        settings = {
            "format": findings.FORMAT,
            "disclaimer": provenance.DISCLAIMER,
            "model": self.model.title,
            "manifest_sha256": self.model.digest,
            "reported_from": self.point,
            "allow": sorted(self._allow()),
            "sr": options.sr,
            # a folder of older calls has no such word
            **({"presentation_state": True} if options.presentation else {}),
            "uid_root": options.uid_root if options.sr else None,
            "deterministic": options.same_dates and options.sr,
            **more,
        }
        path = options.out / SETTINGS
        if path.exists():
            try:
                there = json.loads(path.read_text())
            except ValueError:
                there = None
            if there != settings:
                raise ValueError(
                    f"{options.out} has films of another model or of other options: "
                    "choose another --out or delete it"
                )
        else:
            files.write_json(path, settings)
        (options.out / written.FILMS).mkdir(exist_ok=True)

    def welcome(self, films_in_words: str) -> None:
        """Says in the log who answers, and where."""
        log.info(
            "%s, %s, on %s. %s", self.model.title, films_in_words, devices.describe(),
            provenance.DISCLAIMER,
        )  # fmt: skip

    def records(
        self, tasks: Iterable[tuple[int, Source]]
    ) -> Generator[dict[str, Any], None, None]:
        """The record of every film, in order; its files are written by then.

        Args:
            tasks: numbers and films; taken some batches ahead of what comes out.
        """
        paths: dict[int, Path] = {}

        def told() -> Iterable[tuple[int, Source]]:
            for number, film in tasks:
                paths[number] = film.path
                yield number, film

        prepared = self.model.preprocessing
        reading = films.Reading(
            side=prepared.side,
            bits=prepared.bits,
            allow=tuple(sorted(self._allow() & {"modality"})),
            timeout_s=self.options.timeout_s,
        )
        workers = self.options.workers
        # while the net works on a batch, the next one is decoded and the last written
        ahead = self._size + _AHEAD * workers
        read = films.read_all(told(), reading=reading, workers=workers, ahead=ahead)
        return pool.map_in_order(
            functools.partial(
                written.write, out=self.options.out, answers=self._answers
            ),
            self._judged(read, paths),
            workers=workers,
            ahead=ahead,
            timeout_s=self.options.timeout_s,
            on_timeout=functools.partial(_not_written, out=self.options.out),
        )

    def publish(self, records: Sequence[Mapping[str, Any]], *, table: str) -> bool:
        """Writes summary and page, says how many there are; whether none is refused.

        Args:
            records: of films.
            table: name of the file that says which film is which.
        """
        out = self.options.out
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
            "model": {"title": self.model.title, "manifest_sha256": self.model.digest},
            "finding": self.model.finding,
            "reported_from": self.point,
            "counts": counts,
            "films": found,
            "refused": refused,
            "versions": provenance.versions(),
        }
        files.write_text(out / PAGE, predictions_page.render(summary, table=table))
        files.write_json(out / SUMMARY, summary)
        log.info(
            "%(films)d films read, %(with_boxes)d with a reported box, %(flagged)d "
            "flagged as beyond the model; %(refused)d refused; %(other_files)d files "
            "of other kind",
            counts,
        )
        log.info("the page: %s", out / PAGE)
        log.info("which film is which: %s", out / table)
        return not counts["refused"]

    def _allow(self) -> set[str]:
        return {*self.options.allow, *self.model.preprocessing.allow}

    def _make_answers(self) -> written.Answers | None:
        """How DICOM objects are made; None where none are asked for."""
        options = self.options
        if not options.sr:
            return None
        if importlib.util.find_spec("highdicom") is None:
            raise ValueError(
                "DICOM SR needs highdicom: pip install -r requirements/sr.txt, or give "
                "--nosr"
            )
        making = source.Making(
            uid_root=options.uid_root,
            same_uids=options.same_uids,
            same_dates=options.same_dates,
            # objects with one UID must have one content: all that decides the findings
            seed="\0".join([self.model.digest, self.point, __version__]),
        )
        return written.Answers(making, __version__, self.options.presentation)

    @functools.cached_property
    def _net(self) -> tuple[model_maps.Predictor, Any]:
        """The net, compiled at its first batch, and its weights on the devices."""
        predictor = model_maps.Predictor(
            stages.make_model(self.model.config, axis_name=None),
            batch_size=self._size,
            detect=stages.make_detect(self.model.config),
        )
        return predictor, predictor.place(self.model.variables)

    def _judged(
        self, read: Iterable[Film | Refused], paths: dict[int, Path]
    ) -> Generator[written.Job | Refused, None, None]:
        """What the net says of each film, in order; it is asked in batches."""
        waiting: collections.deque[Film | Refused] = collections.deque()
        for one in read:
            waiting.append(one)
            if sum(isinstance(other, Film) for other in waiting) == self._size:
                yield from self._batch(waiting, paths)
                waiting.clear()
        yield from self._batch(waiting, paths)

    def _batch(
        self, waiting: Sequence[Film | Refused], paths: dict[int, Path]
    ) -> list[written.Job | Refused]:
        """Of at most `_size` films; a batch that is not full is filled up with air."""
        stopping.check()
        asked = [one for one in waiting if isinstance(one, Film)]
        if not asked:
            return [one for one in waiting if isinstance(one, Refused)]
        model, (predictor, placed) = self.model, self._net
        side = model.preprocessing.side
        images = np.zeros((self._size, side, side, 1), np.float32)
        for place, film in zip(images, asked, strict=False):
            place[...] = preprocessing.to_input(film.square)
        outputs = predictor.batch(placed, images)[: len(asked)]
        content = np.stack([film.content for film in asked])
        prediction = predictor.prediction(outputs, content, side=side)
        scores = prediction.image_scores(model.preprocessing.detecting.pooling)
        boxes = model_maps.boxes(prediction, model.preprocessing.detecting)
        judged = {}
        for k, film in enumerate(asked):
            record = findings.record(
                film, model, score=float(scores[k]), boxes=boxes[k], point=self.point
            )
            reported = [box["reported"] for box in record["boxes"]]
            judged[film.number] = written.Job(
                film,
                paths.pop(film.number),
                record,
                prediction.maps[k],
                boxes[k][np.array(reported, bool)],
            )
        return [
            one if isinstance(one, Refused) else judged[one.number] for one in waiting
        ]


def done(out: Path, number: int) -> Mapping[str, Any] | None:
    """The record of a film that was read before; None: it is to be read."""
    try:
        record = json.loads(written.path_of(out, number, "json").read_text())
        is_done = record["film"] == number and "refused" not in record
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not done, or cut off
    return record if is_done else None


def _not_written(job: written.Job | Refused, *, out: Path) -> dict[str, Any]:
    number = job.number if isinstance(job, Refused) else job.film.number
    reason = "its findings could not be written: the process was lost; call again"
    return written.refuse(Refused(number, reason), out=out)
