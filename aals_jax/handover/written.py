"""What is written of one film, by a process that knows no JAX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from aals_jax.report import overlay
from aals_jax.runtime import files
from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import atomic
from data.reading_room import source
from data.reading_room.films import Film, Refused

FILMS = "films"
OBJECTS = ("sr", "sc", "pr")  # kinds of DICOM objects


class Answers(NamedTuple):
    """How DICOM objects are made, for films that are DICOM."""

    making: source.Making
    version: str  # of this software
    presentation: bool = False  # whether a Softcopy Presentation State is one of them


class Job(NamedTuple):
    """A film with its findings."""

    film: Film
    path: Path  # of its file
    record: dict[str, Any]  # of findings.record
    heat: np.ndarray  # f32[m, m], the map of the square
    boxes: np.ndarray  # f64[k, 5], reported ones, px of the square


def path_of(out: Path, number: int, ending: str) -> Path:
    return out / FILMS / f"{number:06d}.{ending}"


def numbers(out: Path) -> list[int]:
    """Numbers of all films of which something was written."""
    names = {path.name.partition(".")[0] for path in (out / FILMS).glob("*")}
    return sorted(int(name) for name in names if name.isdecimal())


def write(job: Job | Refused, *, out: Path, answers: Answers | None) -> dict[str, Any]:
    """Writes the film's files, the JSON last; returns what is in it.

    Args:
        job: the film.
        out: the folder of all.
        answers: None: no DICOM objects are made.
    """
    if isinstance(job, Refused):
        return refuse(job, out=out)
    try:
        record = job.record | _files(job, out, answers)
    except Exception as error:  # its text may hold a field of the header
        reason = f"its findings could not be written ({type(error).__name__})"
        return refuse(Refused(job.film.number, reason), out=out)
    files.write_json(path_of(out, job.film.number, "json"), record)
    return record


def refuse(refused: Refused, *, out: Path) -> dict[str, Any]:
    """Writes why a film has no findings; nothing of an earlier try stays."""
    for ending in ("png", *(f"{kind}.dcm" for kind in OBJECTS)):
        path_of(out, refused.number, ending).unlink(missing_ok=True)
    record = {
        "film": refused.number,
        "refused": refused.reason,
        "is_other_kind": refused.is_other,
    }
    files.write_json(path_of(out, refused.number, "json"), record)
    return record


def with_objects(out: Path) -> list[int]:
    """Numbers of films whose DICOM objects are here."""
    found = {path.name.partition(".")[0] for path in (out / FILMS).glob("[0-9]*.dcm")}
    return sorted(map(int, found))


def without_objects(record: Mapping[str, Any], *, out: Path) -> dict[str, Any]:
    """Takes away a film's DICOM objects, which are stored elsewhere; its new record."""
    number, named = record["film"], record["files"]
    stored = record.get("stored") or [kind for kind in OBJECTS if kind in named]
    left = {kind: name for kind, name in named.items() if kind not in OBJECTS}
    changed = {**record, "files": left, "stored": stored}
    files.write_json(path_of(out, number, "json"), changed)
    for kind in OBJECTS:
        path_of(out, number, f"{kind}.dcm").unlink(missing_ok=True)
    return changed


def _files(job: Job, out: Path, answers: Answers | None) -> dict[str, Any]:
    """`files`: kind -> name of each file written, from `out`; and `no_dicom`: why there
    are no DICOM objects, where they were asked for."""
    image = None if job.film.picture is None else drawing(job)
    written: dict[str, Path] = {}
    said: dict[str, Any] = {}
    if image is not None:
        written["overlay"] = path_of(out, job.film.number, "png")
        files.write_bytes(written["overlay"], overlay.png(image))
    if answers is not None and job.film.is_dicom:
        try:
            written |= _objects(job, image, out, answers)
        except source.NoSource as error:
            said["no_dicom"] = str(error)
    names = {kind: path.relative_to(out).as_posix() for kind, path in written.items()}
    return {"files": names, **said}


def _objects(
    job: Job, image: np.ndarray | None, out: Path, answers: Answers
) -> dict[str, Path]:
    """Writes the objects, which name the patient; kind -> path."""
    # an extra: imported where it is needed
    from data.reading_room import capture, presentation, report

    options: Any = {"making": answers.making, "version": answers.version}
    written = {}
    with source.quiet():
        header = source.read(job.path)
        objects = {"sr": report.make(header, job.record, **options)}
        if image is not None:
            frontal = (
                bool(header.get("PatientOrientation"))
                and not job.record["flags"]["lateral"]
            )
            objects["sc"] = capture.make(header, image, frontal=frontal, **options)
        if answers.presentation:
            objects["pr"] = presentation.make(
                header,
                source.read_display(job.path),
                job.record,
                lines=[overlay.BURNED_IN, *words(job.record)],
                **options,
            )
        for kind, made in objects.items():
            written[kind] = path_of(out, job.film.number, f"{kind}.dcm")
            with atomic.replacing(written[kind]) as draft:
                made.save_as(draft, enforce_file_format=True)
    return written


def drawing(job: Job) -> np.ndarray:
    """u8[h, w, 3], the overlay of a film whose picture may be shown."""
    film, record = job.film, job.record
    assert film.picture is not None
    height, width = film.picture.shape
    # the map as it lies under the picture: px of the picture -> px of the map
    side = len(film.square)
    shrink = np.array([[len(job.heat) / side, 0, 0], [0, len(job.heat) / side, 0]])
    half = np.array(
        [[1, 0, 0.5], [0, 1, 0.5]]
    )  # OpenCV's pixels have their centres at 0
    way = reader.composed(
        half, reader.inverse(film.to_picture), shrink, reader.inverse(half)
    )
    heat = cv2.warpAffine(
        job.heat,
        way,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    boxes = np.concatenate(
        [reader.map_boxes(film.to_picture, job.boxes[:, :4]), job.boxes[:, 4:]], axis=1
    )
    return overlay.draw(film.picture, heat, boxes, lines=words(record))


def words(record: Mapping[str, Any]) -> list[str]:
    """What is said in words where a film is shown, beside overlay.BURNED_IN."""
    score, finding = record["score"], record["finding"]
    lines = [f"film {record['film']}: score {score:.3f} for {finding}"]
    if record["beyond_model"]:
        lines.append(f"FLAGGED: {', '.join(record['beyond_model']).replace('_', ' ')}")
    return lines
