"""`--mode=score`: metrics and the page for anybody's detections, without a network."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aals_jax.evaluation import (
    curve_tables,
    examples,
    flow,
    result,
    study_facts,
    submissions,
)
from aals_jax.metrics import (
    definitions,
    further,
    likelihood,
    measurement,
    multiplicity,
    operating,
    points,
    reader_study,
    readings,
)
from aals_jax.metrics.draws import Bootstrap, TruthDraws
from aals_jax.metrics.measurement import Measurement
from aals_jax.report import wording
from aals_jax.runtime import files, log

if TYPE_CHECKING:
    from data.cxr_registry.dicom import reader


@dataclasses.dataclass(frozen=True)
class ScoreOptions:
    """How to score; see `launch.py --mode=score --help`."""

    hit: readings.Hit
    bootstrap: Bootstrap
    title: str = "Scores"
    pictures: Path | None = None  # folder of the images, for the page's pictures
    wanted: further.Wanted = dataclasses.field(default_factory=further.Wanted)
    primary: str | None = None  # the metric that a comparison is about
    margin: float | None = None  # of non-inferiority in the primary metric, > 0
    tables: tuple[str, ...] = ()  # keys of result_tables.FORMATS
    study: study_facts.StudyFacts = study_facts.UNSTATED  # what the author states


def score(submitted: submissions.Files, out: Path, *, options: ScoreOptions) -> Path:
    """Writes metrics.json and report.html to `out`; returns the path of the first.

    Raises:
        SubmissionError: every fault of the files at once; nothing is written.
    """
    submission = submissions.read(submitted)
    check_hit(submission, options.hit)
    _check_comparison(submitted, options)
    names = _system_names(submission, submitted)
    with log.progress("scoring") as update:
        measurements = {}
        for number, name in enumerate(names):

            def tick(done: int, total: int, number: int = number) -> None:
                update(number * total + done, len(names) * total)

            measurements[name] = _measure(submission, number, options, tick)
    first = measurements[names[0]]
    figures = {
        name: further.measure(
            one.truth,
            one.reading,
            points=one.operating_points,
            draws=TruthDraws(one.truth, options.bootstrap),
            hit=options.hit,
            wanted=options.wanted,
        )
        for name, one in measurements.items()
    }
    if submission.read_by:
        figures[reader_study.SYSTEM] = _of_readers(submission, names, measurements)
    curves = {
        name: points.curve_points(one.truth, one.reading)
        for name, one in measurements.items()
    }
    scored = result.Result(
        kind="score",
        title=options.title,
        measurements=measurements,
        differences=(
            multiplicity.judge(
                measurement.differences(*measurements.items()),
                primary=options.primary,
                margin=options.margin,
                lower_is_better=wording.LOWER_IS_BETTER,
            )
            if len(measurements) == 2 and not submission.read_by
            else []
        ),
        further=figures,
        curve_points=curve_tables.as_lists(curves),
        data={"source": "tables of detections", **_counts(first.truth)},
        notes=_notes(submission),
        flow=flow.of_tables(
            submission.truth, submission.split, exclusions=options.study.exclusions
        ),
        study=options.study.as_json(),
        settings={
            **options.hit.described(),
            **dataclasses.asdict(options.bootstrap),
        },
    )
    pictures = _pictures(submission, first, options)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)  # its page may show images
    files.write_text(out / curve_tables.FILE, curve_tables.as_csv(curves))
    return result.publish(
        scored, out / result.SCORE_FILE, examples=pictures, tables=options.tables
    )


def check_hit(submission: submissions.Submission, hit: readings.Hit) -> None:
    """Raises ValueError for a hit rule that these coordinates can't have."""
    points = any(np.shape(places)[-1] == 2 for places in submission.truth.lesions)
    if points and hit.rule != "distance":
        raise ValueError(
            f"the lesions are points, which hit_rule={hit.rule} can't judge: give "
            "--hit_rule=distance --distance=REACH"
        )
    if hit.rule == "iou" and any(
        np.shape(rows)[-1] == 3 for system in submission.detections for rows in system
    ):
        raise ValueError("--hit_rule=iou needs boxes in every table of detections")


def _measure(
    submission: submissions.Submission,
    number: int,
    options: ScoreOptions,
    progress: Callable[[int, int], None],
) -> Measurement:
    """One system, on the test rows; thresholds come from the validation rows."""
    truth = submission.truth
    score, detections = submission.scores[number], submission.detections[number]

    def part(rows: np.ndarray) -> tuple[readings.Truth, readings.Reading]:
        part_truth = truth.select(rows)
        return part_truth, readings.read(
            part_truth, score[rows], [detections[i] for i in rows], hit=options.hit
        )

    test_truth, test = part(_rows(submission, "test"))
    chosen_on = "the same images, so these look better than they are"
    chosen = operating.choose(test_truth, test)
    if np.any(submission.split == "validation"):
        chosen_on = "the validation rows"
        chosen = operating.choose(*part(_rows(submission, "validation")))
    measured = measurement.measure(
        test_truth,
        test,
        points=chosen,
        chosen_on=chosen_on,
        bootstrap=options.bootstrap,
        hit=options.hit,
        progress=progress,
    )
    counted = likelihood.extend(
        measured.operating_points,
        test_truth,
        test,
        prevalence=options.wanted.prevalence,
    )
    return dataclasses.replace(measured, operating_points=counted)


def _system_names(
    submission: submissions.Submission, submitted: submissions.Files
) -> tuple[str, ...]:
    """One for each system; readers are numbered, since names may be of persons."""
    tables = ("detections", "detections_b")[: len(submitted.detections)]
    if not submission.read_by:
        return tables
    return tuple(f"{tables[i]}, reader {j + 1}" for i, j in submission.read_by)


def _of_readers(
    submission: submissions.Submission,
    names: Sequence[str],
    measurements: Mapping[str, Measurement],
) -> dict[str, Any]:
    """The analyses of all readers together."""
    by_modality: dict[int, list[readings.Reading]] = {}
    for name, (modality, _) in zip(names, submission.read_by, strict=True):
        by_modality.setdefault(modality, []).append(measurements[name].reading)
    return reader_study.figures(
        measurements[names[0]].truth,
        list(by_modality.values()),
        modalities=("detections", "detections_b")[: len(by_modality)],
    )


def _check_comparison(submitted: submissions.Files, options: ScoreOptions) -> None:
    """Raises ValueError for a primary metric or a margin that can't be."""
    compared = [n for n, m in definitions.METRICS.items() if not m.no_interval]
    if options.primary is not None and submitted.reader is not None:
        raise ValueError("--primary is of two systems, not of several readers")
    if options.primary is not None and len(submitted.detections) < 2:
        raise ValueError("--primary is of a comparison: give --detections_b")
    if options.primary not in (None, *compared) or options.primary == "froc_area":
        names = ", ".join(name for name in compared if name != "froc_area")
        raise ValueError(f"--primary={options.primary}: use one of {names}")
    if options.margin is not None and options.primary is None:
        raise ValueError("--margin is of a primary metric: give --primary")


def _rows(submission: submissions.Submission, split: str) -> np.ndarray:
    """The images of a split, by name: the order of the rows of a table changes nothing.

    All of them where there is no such column.
    """
    rows = np.flatnonzero((submission.split == split) | (submission.split == ""))
    return rows[np.argsort(submission.image[rows], kind="stable")]


def _counts(truth: readings.Truth) -> dict[str, Any]:
    return {
        **definitions.image_set(truth, np.arange(len(truth))),
        "n_judged": len(truth.judged_rows),
    }


def _notes(submission: submissions.Submission) -> list[str]:
    notes = [f"The score of an image is that of {submission.score_source}."]
    notes += submission.notes
    if submission.read_by:
        count = 1 + max(reader for _, reader in submission.read_by)
        notes.append(
            f"{count} readers, numbered by the order of their names. An image without "
            "a row of a reader was read by them, and nothing was found."
        )
    unjudged = int(np.sum(~submission.truth.judged))
    if unjudged:
        notes.append(
            f"{unjudged} positive image(s) have no marked lesion: lesion-level metrics "
            "leave them out."
        )
    if len(set(submission.truth.patient)) == len(submission.image):
        notes.append("Each image counts as a patient of its own.")
    if submission.left_out:
        notes.append(
            "Columns with dates, or too many values to be subgroups, left out: "
            f"{', '.join(submission.left_out)}."
        )
    return notes


def _pictures(
    submission: submissions.Submission, first: Measurement, options: ScoreOptions
) -> list[examples.Example]:
    """Pictures of the first system, where the images are at hand."""
    folder = options.pictures
    if folder is None:
        return []
    rows = _rows(submission, "test")
    missing = 0

    def film_of(i: int) -> examples.Film | None:
        nonlocal missing
        image = _radiograph(folder, str(submission.image[rows[i]]))
        if image is None:
            missing += 1
            return None
        pixels = np.rint(image.pixels * 255).astype(np.uint8)
        return examples.Film(pixels, None, image.stored_to_upright)

    chosen = examples.choose_examples(
        first.truth, first.reading, film_of, hit=options.hit
    )
    if missing:
        log.warning(
            "%d picture(s) left out: no readable file of the image's name, or one "
            "that is flagged as having burned-in text",
            missing,
        )
    return chosen


def _radiograph(folder: Path, name: str) -> "reader.Radiograph | None":
    """The image of that name in the folder, where there is one to be shown."""
    # here: pydicom takes half a second, and most scorings show no pictures
    from data.cxr_registry.dicom import reader

    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            return None
        image = reader.read_radiograph(path, modalities=None)
    except (OSError, RuntimeError, ValueError):  # no path, a link to itself, no image
        return None
    return None if image.burned_in else image
