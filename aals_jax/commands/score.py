"""`--mode=score`: metrics and a page for anybody's detections, as tables."""

from typing import Any

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "score",
    summary="measures anybody's detections, given as tables; needs no network",
    example="""\
python launch.py --mode=score --images images.csv --lesions lesions.csv \\
    --detections detections.csv --out runs/scores
python launch.py --mode=score --images images_with_scores.csv --out runs/scores""",
    required=("out",),
)
_TABLES = COMMAND.group("Tables: CSV, Parquet, Excel, or COCO's JSON (docs/scoring.md)")
_IMAGES = _TABLES.path(
    "images",
    None,
    "One row per image: image, label (0 or 1); optional: patient, score, split, width, "
    "height. Every other column is a subgroup. Alone it is enough where it has scores: "
    "image-level results. Not needed where --lesions names images without a lesion, "
    "too: a COCO file, or rows with an empty box and label (Target) 0.",
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
_RULE = COMMAND.group("When a detection is a hit")
_HIT_RULE = _RULE.choice(
    "hit_rule",
    ("center_in_box", "distance", "iou"),
    "center_in_box: its point, or the centre of its box, lies in the lesion. distance: "
    "the point is within --distance of the lesion. iou: the boxes overlap by --iou.",
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
_TITLE = _WRITTEN.text("title", "Scores", "Title at the top of the page.")
_PICTURES = _WRITTEN.path(
    "pictures",
    None,
    "Folder of the image files that --images names; the page then shows the worst "
    "misses and the loudest false alarms, so it holds pictures of patients.",
    placeholder="DIR",
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
    about_lesions = (_HIT_RULE, _IOU, _DISTANCE, _PICTURES, _CATEGORY)
    needs = "--lesions, which are missing"
    faults += COMMAND.unread(about_lesions, when=bool(lesions), needs=needs)
    for flag in (_IOU, _DISTANCE):
        rule = _HIT_RULE.value
        needs = f"--hit_rule={flag.name}; the rule is {rule}"
        faults += COMMAND.unread([flag], when=rule == flag.name, needs=needs)
    return faults


def call() -> None:
    from aals_jax.evaluation import score, submissions
    from aals_jax.metrics import draws

    detections = (_DETECTIONS.value, _DETECTIONS_B.value)
    files = submissions.Files(
        images=_IMAGES.value,
        lesions=_LESIONS.value,
        detections=tuple(path for path in detections if path),
        category=_CATEGORY.value,
    )
    options = score.ScoreOptions(
        hit=_hit(),
        bootstrap=draws.Bootstrap(_REPLICATES.value, _SEED.value),
        title=_TITLE.value,
        pictures=_PICTURES.value,
    )
    COMMAND.own(_OUT.value)
    score.score(files, _OUT.value, options=options)


def _hit() -> Any:
    """The hit rule, with the one number that it has."""
    from aals_jax.metrics import matching, readings

    rule, iou, distance = _HIT_RULE.value, _IOU.value, _DISTANCE.value
    if iou is not None and not 0 < iou <= 1:
        raise ValueError(f"--iou={iou}: must be above 0 and at most 1")
    if rule == "distance" and not (distance or 0) > 0:
        raise ValueError("--hit_rule=distance needs --distance=REACH, above 0")
    least = matching.IOU_THRESHOLD if iou is None else iou
    return readings.Hit(rule, least, distance or 0.0)
