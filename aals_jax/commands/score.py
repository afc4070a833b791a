"""`--mode=score`: metrics and a page for anybody's detections, as tables."""

import dataclasses
import os
from typing import Any

from aals_jax.commands.command_line import Command, UsageError

COMMAND = Command(
    "score",
    summary="measures anybody's detections, given as tables; needs no network",
    example="""\
python launch.py --mode=score --images images.csv --lesions lesions.csv \\
    --detections detections.csv --out runs/scores
python launch.py --mode=score --images images_with_scores.csv --out runs/scores
python launch.py --mode=score --study_template study.toml""",
    required=("out",),
    alone=("study_template",),
)
_TABLES = COMMAND.group("Tables: CSV, Parquet, Excel, or COCO's JSON (docs/scoring.md)")
_IMAGES = _TABLES.path(
    "images",
    None,
    "One row per image: image, label (0 or 1); optional: patient, score, split, width, "
    "height. Columns such as sex, age_group, site, scanner are subgroups. Alone it is "
    "enough where it has scores: image-level results. Not needed where --lesions names "
    "images without a lesion, too: a COCO file, or rows with an empty box and label "
    "(Target) 0.",
)
_LESIONS = _TABLES.path(
    "lesions",
    None,
    "One row per lesion: image, and its box x0, y0, x1, y1 or x, y, width, height, or "
    "its point x, y; optional: lesion, category. Or a COCO file of the ground truth. "
    "Names such as xmin, coordX or patientId are known (docs/scoring.md).",
)
_DETECTIONS = _TABLES.path(
    "detections",
    None,
    "One row per detection: image, score (or confidence, probability), and its point "
    "x, y or its box, as in --lesions. Or a COCO file of results.",
)
_DETECTIONS_B = _TABLES.path(
    "detections_b",
    None,
    "Detections of a second system on the same images; paired differences are measured "
    "then, the first system minus the second.",
)
_CATEGORY = _TABLES.text(
    "category",
    None,
    "Name of the category to score, where a file has several.",
    placeholder="NAME",
)
_SUBGROUPS = _TABLES.words(
    "subgroups",
    None,
    "Further columns of --images to report by group, whose names do not say that they "
    "describe images. They must name nobody.",
)
_READERS = COMMAND.group("Several readers")
_READER = _READERS.text(
    "reader",
    None,
    "Column of the detections that says who read, where several readers read all "
    "images; with --detections_b all of them read both.",
    placeholder="COLUMN",
)
_CONSENSUS = _READERS.integer(
    "consensus",
    None,
    "Number of readers that must have drawn a lesion, where several drew the lesions: "
    "boxes that overlap are then one.",
    lowest=1,
)
_DRAWN_BY = _READERS.text(
    "drawn_by",
    None,
    "Column of the lesions that says who drew, as rad_id; of --consensus. Without it: "
    "reader.",
    placeholder="COLUMN",
)
_CONSENSUS_IOU = _READERS.number(
    "consensus_iou",
    None,
    "Least overlap of two readers' boxes of one lesion, above 0 and at most 1; of "
    "--consensus. Without it: 0.5.",
)
_RULE = COMMAND.group("When a detection is a hit")
_HIT_RULE = _RULE.choice(
    "hit_rule",
    ("center_in_box", "distance", "iou", "radius"),
    "center_in_box: its point, or the centre of its box, lies in the lesion. radius: "
    "it lies within the lesion's radius (a column radius or diameter beside its point, "
    "as LUNA16 has it). distance: the point is within --distance of the lesion. iou: "
    "the boxes overlap by --iou.",
    default="center_in_box",
    placeholder="RULE",
)
_IOU = _RULE.number(
    "iou",
    None,
    "Least intersection over union of --hit_rule=iou, above 0 and at most 1. Without "
    "it: 0.2.",
)
_DISTANCE = _RULE.number(
    "distance",
    None,
    "Largest distance of --hit_rule=distance, in the unit of the tables' coordinates.",
)
_REPEATS = _RULE.choice(
    "repeats",
    ("ignored", "false"),
    "How a second hit on a lesion counts: not at all, or as a false positive, as COCO "
    "has it.",
    default="ignored",
)
_FURTHER = COMMAND.group("Figures that a field reports (docs/figures.md)")
_FP_RATES = _FURTHER.text(
    "fp_rates",
    "froc_count",
    "False positives an image at which sensitivity is reported: luna16, camelyon, "
    "nndetection, ribfrac, froc_count, or a list as 0.5,1,2.",
    placeholder="NAME|LIST",
)
_PREVALENCE = _FURTHER.number(
    "prevalence",
    None,
    "Share of positives among the images to come, above 0 and below 1; operating "
    "points then have PPV and NPV for it.",
)
_PARTIAL_FPR = _FURTHER.text(
    "partial_fpr",
    None,
    "End of the range of a partial AUROC, from false-positive rate 0, as 0.1; or a "
    "list.",
    placeholder="X,X",
)
_COCO_AP = _FURTHER.switch(
    "coco_ap",
    False,
    "Measure COCO's average precision too: at IoU 0.50, 0.55, ..., 0.95 and their "
    "mean; needs boxes on both sides.",
)
_NEGATIVE_SHARES = _FURTHER.text(
    "negative_shares",
    None,
    "Shares of images without lesions to which froc_count is carried over, as "
    "0,0.5,0.9; each at least 0 and below 1.",
    placeholder="X,X",
)
_COMPARISON = COMMAND.group("What a comparison of two systems is about")
_PRIMARY = _COMPARISON.text(
    "primary",
    None,
    "Name of the metric that was named beforehand, as auroc; the p-values of the "
    "others are adjusted by Holm. Without it: all are.",
    placeholder="METRIC",
)
_MARGIN = _COMPARISON.number(
    "margin",
    None,
    "Margin of non-inferiority in the primary metric, above 0: how much worse the "
    "first system may be.",
)
_BOOTSTRAP = COMMAND.group("Intervals, by a bootstrap that draws patients")
_REPLICATES = _BOOTSTRAP.integer(
    "replicates", 2000, "How many times the patients are drawn.", lowest=1
)
_SEED = _BOOTSTRAP.integer(
    "bootstrap_seed",
    0,
    "Seed of the draws; the same seed gives the same intervals.",
    lowest=0,
)
_WRITTEN = COMMAND.group("What is written")
_OUT = _WRITTEN.path(
    "out", None, "Folder to write metrics.json and report.html to.", placeholder="DIR"
)
_TABLE = _WRITTEN.words(
    "table",
    None,
    "Results as tables for a paper too, any of latex, markdown, csv: results.tex, "
    "results.md, results.csv.",
)
_TITLE = _WRITTEN.text("title", "Scores", "Title at the top of the page.")
_PICTURES = _WRITTEN.path(
    "pictures",
    None,
    "Folder of the image files that --images names; the page then shows the worst "
    "misses and the loudest false alarms, so it holds pictures of patients.",
    placeholder="DIR",
)


_REPORTED = COMMAND.group("What the study's author states, for checklists of reporting")
_STUDY_FACTS = _REPORTED.path(
    "study_facts",
    None,
    "TOML file of what a scoring can't know: intended use, reference standard, "
    "annotators, exclusions, ...; it fills STARD 2015, CLAIM 2024 and TRIPOD+AI on the "
    "page, and exclusions stand in the diagram of the images.",
)
_STUDY_TEMPLATE = _REPORTED.path(
    "study_template",
    None,
    "Write an empty file of these facts to fill, and end; no other flag is needed.",
)


@COMMAND.check
def _faults() -> list[str]:
    """What the tables lack, and which flags nothing would read."""
    faults = []
    lesions, detections = _LESIONS.value, _DETECTIONS.value
    if not (_IMAGES.value or lesions):
        faults.append("--mode=score needs --images, or --lesions and --detections")
    if lesions and not detections:
        faults.append("--mode=score --lesions needs --detections")
    if _DETECTIONS_B.value and not detections:
        faults.append("--mode=score --detections_b needs --detections")
    about_lesions = (
        *(_HIT_RULE, _IOU, _DISTANCE, _REPEATS, _PICTURES, _CATEGORY, _CONSENSUS),
        *(_FP_RATES, _COCO_AP, _NEGATIVE_SHARES),
    )
    needs = "--lesions, which are missing"
    faults += COMMAND.unread(about_lesions, when=bool(lesions), needs=needs)
    faults += COMMAND.unread(
        (_READER,), when=bool(detections), needs="--detections, which is missing"
    )
    needs = "--consensus=N, the readers that must have drawn a lesion; it is missing"
    faults += COMMAND.unread(
        (_DRAWN_BY, _CONSENSUS_IOU), when=_CONSENSUS.value is not None, needs=needs
    )
    needs = "--primary=METRIC, the metric that it is of; it is missing"
    faults += COMMAND.unread((_MARGIN,), when=bool(_PRIMARY.value), needs=needs)
    for flag in (_IOU, _DISTANCE):
        rule = _HIT_RULE.value
        needs = f"--hit_rule={flag.name}; the rule is {rule}"
        faults += COMMAND.unread([flag], when=rule == flag.name, needs=needs)
    return faults


def call() -> None:
    # Before NumPy is imported: its products are small here, and threads that wait for
    # their share of one cost CPU time and save none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from aals_jax.evaluation import score, study_facts

    if _STUDY_TEMPLATE.value:
        study_facts.write_template(_STUDY_TEMPLATE.value)
        return
    study = study_facts.UNSTATED
    if _STUDY_FACTS.value:
        study = study_facts.read(_STUDY_FACTS.value)
    try:
        files, options = _files(), _options()
    except ValueError as error:  # of a flag: no file has been read
        raise UsageError(str(error)) from None
    options = dataclasses.replace(options, study=study)
    COMMAND.own(_OUT.value)
    score.score(files, _OUT.value, options=options)


def _files() -> Any:
    """Where the tables are."""
    from aals_jax.evaluation import submissions

    detections = (_DETECTIONS.value, _DETECTIONS_B.value)
    return submissions.Files(
        images=_IMAGES.value,
        lesions=_LESIONS.value,
        detections=tuple(path for path in detections if path),
        category=_CATEGORY.value,
        reader=_READER.value,
        with_radius=_HIT_RULE.value == "radius",
        consensus=_consensus(),
        subgroups=tuple(_SUBGROUPS.value or ()),
    )


def _options() -> Any:
    """How to score, but for what the study's author states."""
    from aals_jax.evaluation import score
    from aals_jax.metrics import draws
    from aals_jax.report import result_tables

    return score.ScoreOptions(
        hit=_hit(),
        bootstrap=draws.Bootstrap(_REPLICATES.value, _SEED.value),
        title=_TITLE.value,
        pictures=_PICTURES.value,
        wanted=_wanted(),
        primary=_PRIMARY.value,
        margin=_above_zero("margin", _MARGIN.value),
        tables=result_tables.check(_TABLE.value or ()),
    )


def _consensus() -> Any:
    """How lesions of several readers become one; None where one drew them."""
    from aals_jax.evaluation import readers
    from aals_jax.metrics import consensus

    least, column, iou = _CONSENSUS.value, _DRAWN_BY.value, _CONSENSUS_IOU.value
    if iou is not None and not 0 < iou <= 1:
        raise ValueError(f"--consensus_iou={iou}: must be above 0 and at most 1")
    if least is None:
        return None
    return readers.Consensus(least, column or "reader", iou or consensus.IOU)


def _wanted() -> Any:
    """The further figures that are asked for."""
    from aals_jax.metrics import false_positive_rates, further

    prevalence = _PREVALENCE.value
    if prevalence is not None and not 0 < prevalence < 1:
        raise ValueError(f"--prevalence={prevalence}: must be above 0 and below 1")
    try:
        rates = false_positive_rates.parse(_FP_RATES.value)
    except ValueError as error:
        raise ValueError(f"--fp_rates: {error}") from None
    return further.Wanted(
        fp_rates=rates,
        partial_fpr=_numbers(
            "partial_fpr", _PARTIAL_FPR.value, "above 0 and at most 1"
        ),
        prevalence=prevalence,
        coco_ap=_COCO_AP.value,
        negative_shares=_numbers(
            "negative_shares", _NEGATIVE_SHARES.value, "at least 0 and below 1"
        ),
    )


_RANGES: Any = {  # in words -> what a number must be
    "above 0 and at most 1": lambda number: 0 < number <= 1,
    "at least 0 and below 1": lambda number: 0 <= number < 1,
}


def _numbers(name: str, text: str | None, allowed: str) -> tuple[float, ...]:
    """The numbers of a list, each once, ascending; () for None."""
    if text is None:
        return ()
    try:
        numbers = sorted({float(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not all(map(_RANGES[allowed], numbers)):
        raise ValueError(f"--{name}={text}: give numbers {allowed}, as 0.1,0.5")
    return tuple(numbers)


def _above_zero(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise ValueError(f"--{name}={value}: must be above 0")
    return value


def _hit() -> Any:
    """The hit rule, with the one number that it has."""
    from aals_jax.metrics import matching, readings

    rule, iou, distance = _HIT_RULE.value, _IOU.value, _DISTANCE.value
    if iou is not None and not 0 < iou <= 1:
        raise ValueError(f"--iou={iou}: must be above 0 and at most 1")
    if rule == "distance" and not (distance or 0) > 0:
        raise ValueError("--hit_rule=distance needs --distance=REACH, above 0")
    least = matching.IOU_THRESHOLD if iou is None else iou
    return readings.Hit(rule, least, distance or 0.0, _REPEATS.value)
