"""`--mode=score`: metrics and the page for anybody's detections, without a network."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aals_jax.evaluation import (
    curve_tables,
    examples,
    flow,
    groups,
    image_rows,
    result,
    study_facts,
    submissions,
)
from aals_jax.metrics import (
    definitions,
    further,
    likelihood,
    matching,
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


_MANY_IMAGES = 10  # of one patient, more than half of all, from which that is said
_LESIONS_TO_HIT = 10  # missed all by all detections, from which that is said
_OF_EACH_SCALE = 0.05  # share of scores up to 1 and above, from which that is said
_LEAST_OF_SCALE = 5  # and their number


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
    _check_comparison(submission, options)
    is_given = submission.scores is not None
    submission, dropped = without_ignored(submission, options.hit)
    names = submission.names
    test = submission.truth.select(_rows(submission, "test"))
    draws = TruthDraws(test, options.bootstrap)  # of all systems
    with log.progress("scoring") as update:
        measurements = {}
        for number, name in enumerate(names):

            def tick(done: int, total: int, number: int = number) -> None:
                update(number * total + done, len(names) * total)

            measurements[name] = _measure(submission, number, options, draws, tick)
    first = measurements[names[0]]
    figures = {
        name: further.measure(
            one.truth,
            one.reading,
            points=one.operating_points,
            draws=draws,
            hit=options.hit,
            wanted=options.wanted,
            at_rates=one.at_rates,
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
        data={"source": _source(submission), **_counts(first.truth)},
        notes=[
            *_notes(submission, dropped, is_given=is_given),
            *filter(None, itertools.starmap(_of_no_hit, measurements.items())),
            *filter(None, itertools.starmap(_of_scales, measurements.items())),
            *filter(None, itertools.starmap(_of_decisions, measurements.items())),
        ],
        flow=flow.of_tables(
            submission.truth, submission.split, exclusions=options.study.exclusions
        ),
        study=options.study.as_json(),
        settings={
            **(options.hit.described() if first.truth.marked else {}),
            **dataclasses.asdict(options.bootstrap),
        },
    )
    pictures = _pictures(submission, first, options)
    out.mkdir(mode=0o700, parents=True, exist_ok=True)  # its page may show images
    files.write_text(out / curve_tables.FILE, curve_tables.as_csv(curves))
    return result.publish(
        scored, out / result.SCORE_FILE, examples=pictures, tables=options.tables
    )


def without_ignored(
    submission: submissions.Submission, hit: readings.Hit
) -> tuple[submissions.Submission, int]:
    """Leaves out detections in regions to ignore: neither hits nor false.

    A detection that hits a lesion, or comes second to one, stays, wherever it lies. The
    score of a positive image is that of all its detections: one in a crowd of lesions
    calls the image positive, as it is.

    Returns:
        The submission, and how many detections were left out.
    """
    if not any(map(len, submission.ignored)):
        return submission, 0
    systems, dropped = [], 0
    for system in submission.detections:
        lesions = submission.truth.lesions
        match = matching.match_images(system, lesions, **hit.matching)
        start, kept = 0, []
        for rows, regions in zip(system, submission.ignored, strict=True):
            lesion_of = match.lesion_of[start : start + len(rows)]
            start += len(rows)
            inside = _inside(matching.center(rows[:, :-1]), regions)
            away = inside & (lesion_of == matching.FALSE_POSITIVE)
            kept.append(rows[~away])
            dropped += int(away.sum())
        systems.append(kept)
    label, called = submission.truth.label, submission.image_scores()
    kept = dataclasses.replace(submission, detections=systems)
    scores = [
        np.where(label, *pair) for pair in zip(called, kept.image_scores(), strict=True)
    ]
    return dataclasses.replace(kept, scores=scores), dropped


def _inside(points: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """bool[k], points f64[k, 2] that lie in one of the regions f64[m, 4]."""
    x, y = points.T[:, :, None]
    x0, y0, x1, y1 = regions.T[:, None, :]
    return np.any((x >= x0) & (x < x1) & (y >= y0) & (y < y1), axis=1)


def check_hit(submission: submissions.Submission, hit: readings.Hit) -> None:
    """Raises ValueError for a hit rule that these coordinates can't have."""
    truth, every = submission.truth, [r for s in submission.detections for r in s]
    points = any(len(p) and np.shape(p)[-1] < 4 for p in truth.lesions)
    in_space = {np.shape(p)[-1] in (3, 6) for p in truth.lesions if len(p)}
    in_space |= {np.shape(rows)[-1] == 4 for rows in every if len(rows)}
    if len(in_space) > 1:
        raise ValueError("lesions and detections must both have x, y or both x, y, z")
    if True in in_space and hit.rule not in ("distance", "radius"):
        points = True
    if points and hit.rule != "distance":
        raise ValueError(
            f"the lesions are points, which hit_rule={hit.rule} can't judge: give "
            "--hit_rule=distance --distance=REACH, or --hit_rule=radius where they "
            "have a column radius or diameter"
        )
    if hit.rule == "iou" and any(np.shape(rows)[-1] == 3 for rows in every):
        raise ValueError("--hit_rule=iou needs boxes in every table of detections")


def _measure(
    submission: submissions.Submission,
    number: int,
    options: ScoreOptions,
    draws: TruthDraws,
    progress: Callable[[int, int], None],
) -> Measurement:
    """One system, on the test rows; thresholds come from the validation rows."""
    truth = submission.truth
    score = submission.image_scores()[number]
    detections = submission.detections[number]

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
        draws=draws,
        hit=options.hit,
        rates=options.wanted.fp_rates,
        progress=progress,
    )
    counted = likelihood.extend(
        measured.operating_points,
        test_truth,
        test,
        prevalence=options.wanted.prevalence,
    )
    return dataclasses.replace(measured, operating_points=counted)


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


def _check_comparison(
    submission: submissions.Submission, options: ScoreOptions
) -> None:
    """Raises ValueError for a primary metric or a margin that can't be."""
    primary, marked = options.primary, submission.truth.marked
    compared = [
        name
        for name, metric in definitions.METRICS.items()
        if not metric.no_interval
        and name != "froc_area"  # needs maps
        and (marked or metric.is_image_level)
    ]
    if options.margin is not None and primary is None:
        raise ValueError("--margin is of a primary metric: give --primary")
    if primary is not None and submission.read_by:
        raise ValueError("--primary is of two systems, not of several readers")
    if primary is not None and len(submission.names) < 2:
        raise ValueError("--primary is of two systems: give --detections_b, or score_b")
    if primary not in (None, *compared):
        raise ValueError(f"--primary={primary}: use one of {', '.join(compared)}")


def _rows(submission: submissions.Submission, split: str) -> np.ndarray:
    """The images of a split; all of them where there is no such column."""
    return np.flatnonzero((submission.split == split) | (submission.split == ""))


def _counts(truth: readings.Truth) -> dict[str, Any]:
    return {
        **definitions.image_set(truth, np.arange(len(truth))),
        **({"n_judged": len(truth.judged_rows)} if truth.marked else {}),
    }


def _source(submission: submissions.Submission) -> str:
    if submission.truth.marked:
        return "tables of detections"
    return "tables of images, without marked lesions"


def _of_no_hit(name: str, measured: Measurement) -> str:
    """What to look at where no detection hits any of several lesions; else nothing."""
    truth, match = measured.truth, measured.reading.match
    lesions = int(truth.num_lesions[truth.judged].sum())
    found = np.sum(match.lesion_of >= 0)
    if lesions < _LESIONS_TO_HIT or not len(match.lesion_of) or found:
        return ""
    return (
        f"No detection of {name} hits any of {lesions} lesions: see whether both "
        "tables are in pixels of the same image, and whether the hit rule is meant."
    )


def _of_scales(name: str, measured: Measurement) -> str:
    """What to look at where some scores may be percents and others shares."""
    reading = measured.reading
    of_detections = [np.empty(0), *(rows[:, -1] for rows in reading.detections)]
    if not any(
        _are_two_scales(scores)
        for scores in (reading.score, np.concatenate(of_detections))
    ):
        return ""
    return (
        f"Scores of {name} lie partly between 0 and 1 and partly above, up to 100: see "
        "whether some are percents and others shares, which can't be ranked together."
    )


def _of_decisions(name: str, measured: Measurement) -> str:
    """What to look at where the scores are no scores, but decisions or the labels."""
    score, label = measured.reading.score, measured.truth.label
    values = np.unique(score)
    if len(values) > 2 or not len(values):
        return ""
    if len(values) == 2 and np.array_equal(score == values[1], label):
        return (
            f"The scores of {name} are the labels in other words: see whether the "
            "column is the system's."
        )
    return (
        f"Images have {len(values)} score(s) in {name}: curves have one point, and an "
        "AUROC is the mean of one sensitivity and one specificity."
    )


def _are_two_scales(scores: np.ndarray) -> bool:
    """Whether some are at most 1, some above 10, none below 0 and none above 100."""
    found = scores[np.isfinite(scores) & (scores != 0)]  # 0: without detections
    shares = np.sum(found <= 1)
    least = max(_LEAST_OF_SCALE, _OF_EACH_SCALE * len(found))
    if min(shares, len(found) - shares) < least:
        return False
    return bool(found.min() > 0 and 10 < found.max() <= 100)


def _notes(
    submission: submissions.Submission, dropped: int, *, is_given: bool
) -> list[str]:
    source = "the images table" if is_given else "its highest detection"
    if is_given and submission.read_by:
        source = "its reader's rating"
    notes = [f"The score of an image is that of {source}."]
    notes += [f"{note}." for note in submission.notes]
    if submission.read_by:
        count = 1 + max(reader for _, reader in submission.read_by)
        notes.append(f"{count} readers, numbered by the order of their names.")
        if not is_given:
            notes.append(
                "An image without a row of a reader was read, and nothing was found."
            )
    truth = submission.truth
    if not truth.marked:
        notes.append("No lesions were given: nothing is measured at lesion level.")
    unjudged = int(np.sum(~truth.judged)) if truth.marked else 0
    regions = sum(map(len, submission.ignored))
    if regions:
        notes.append(
            f"{regions} region(s) of the ground truth are marked iscrowd or ignore: "
            f"{dropped} detection(s) in them are neither hits nor false. An image with "
            "nothing but a crowd is positive, one with nothing but an ignored region "
            "is negative, unless --images says otherwise. They count for the score of "
            "a positive image."
        )
    if unjudged:
        notes.append(
            f"{unjudged} positive image(s) have no marked lesion: lesion-level metrics "
            "leave them out."
        )
    notes += _of_patients(submission.truth.patient)
    notes += [f"{note}." for note in groups.alike(submission.truth.groups)]
    if submission.left_out:
        notes.append(
            "Not reported by group, since they may name somebody (identifiers, names, "
            "dates, free text, an unknown name) or have too many values: "
            f"{', '.join(map(groups.shown, submission.left_out))}. --subgroups takes a "
            "column that names nobody; one that tells patients apart is to be named "
            "patient."
        )
    return notes


def _of_patients(patient: np.ndarray) -> list[str]:
    """Whose the images are, where that isn't obvious."""
    unnamed = int(np.sum(~np.char.startswith(patient, image_rows.NAMED)))
    if unnamed == len(patient):
        return ["No patients were given: each image counts as a patient of its own."]
    notes = []
    if unnamed:
        notes.append(
            f"{unnamed} image(s) have no patient: each counts as a patient of its own."
        )
    named = collections.Counter(
        name for name in patient.tolist() if name.startswith(image_rows.NAMED)
    )
    most = max(named.values(), default=0)
    if most > _MANY_IMAGES and 2 * most > len(patient):
        notes.append(
            f"One patient has {most} of {len(patient)} images: see whether the cell is "
            "a word for none."
        )
    if len(set(patient.tolist())) == len(patient):
        notes.append("Each patient has one image.")
    return notes


def _pictures(
    submission: submissions.Submission, first: Measurement, options: ScoreOptions
) -> list[examples.Example]:
    """Pictures of the first system, where the images are at hand."""
    folder = options.pictures
    if folder is None:
        return []
    if any(np.shape(rows)[-1] == 4 for rows in first.reading.detections):
        raise ValueError("--pictures shows flat images, and the places have a depth")
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
