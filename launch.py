"""Runs a config: data, pre-training, distillation, evaluation and the page.

    python launch.py --config configs/clavicle.py
    python launch.py --config configs/clavicle.py --config.seed=1 --workdir runs/seed1
    python launch.py --config configs/rib.py --config.registry=DIR

Calling it again goes on where it was interrupted, and says so when all is done. Any
field of configs/base.py is a flag: --config.distill.max_strength=8. Other modes:

    --mode=build     the dataset of a config, nothing else
    --mode=evaluate  a run scored again, or paired with another one:
        --workdir RUN [--model teacher] [--checkpoint best|last|N] [--split test]
        [--compare RUN_B [--compare_model student]]
    --mode=score     anybody's detections, as CSV, Parquet, Excel or COCO files:
        --images images.csv --lesions lesions.csv --detections detections.csv
        [--detections_b other.csv] --out DIR
"""

import logging
import sys
from pathlib import Path
from typing import Any

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from aals_jax import (
    measure,
    parallel,
    prepare,
    readings,
    reporting,
    rescore,
    submissions,
)
from aals_jax import run as runs
from aals_jax import score as scores

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file, such as configs/clavicle.py or :paper after it."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run is kept; default: runs/<finding>[-<scale>]."
)
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where an error came from.")

# --mode=evaluate
_MODEL = flags.DEFINE_string("model", "teacher", "Model of the run to evaluate.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, last, or a kept step.")
_SPLIT = flags.DEFINE_string("split", "test", "train, validation or test.")
_COMPARE = flags.DEFINE_string("compare", None, "Workdir of a run to pair with.")
_COMPARE_MODEL = flags.DEFINE_string(
    "compare_model", None, "Its model; default: the same as --model."
)
_DATA_DIR = flags.DEFINE_string("data_dir", "runs/datasets", "Prepared datasets.")

# --mode=score
_IMAGES = flags.DEFINE_string(
    "images", None, "Table: image, label, and perhaps patient, score, split, groups."
)
_LESIONS = flags.DEFINE_string(
    "lesions", None, "Table: image, lesion, x0, y0, x1, y1 (or x, y); or COCO."
)
_DETECTIONS = flags.DEFINE_string(
    "detections", None, "Table: image, x, y, score (or a box); or COCO results."
)
_DETECTIONS_B = flags.DEFINE_string(
    "detections_b", None, "Another system on the same images: paired differences."
)
_OUT = flags.DEFINE_string("out", None, "Folder for metrics.json and report.html.")
_CATEGORY = flags.DEFINE_string("category", None, "Of COCO files that have several.")
_TITLE = flags.DEFINE_string("title", "Scores", "Of the page.")
_PICTURES = flags.DEFINE_string("pictures", None, "Folder of the images, to show some.")
_HIT_RULE = flags.DEFINE_enum(
    "hit_rule", "center_in_box", sorted(measure.HITS), "When a detection is a hit."
)
_IOU = flags.DEFINE_float("iou", None, "Least overlap of --hit_rule=iou; default 0.2.")
_DISTANCE = flags.DEFINE_float(
    "distance", None, "Reach of --hit_rule=distance, in the unit of the coordinates."
)
_REPLICATES = flags.DEFINE_integer(
    "replicates", 2000, "Of the patient bootstrap.", lower_bound=1
)
_SEED = flags.DEFINE_integer(
    "bootstrap_seed", 0, "Of the patient bootstrap.", lower_bound=0
)


def _run() -> None:
    config = _CONFIG.value
    suffix = "" if config.scale == "laptop" else f"-{config.scale}"
    workdir = Path(_WORKDIR.value or f"runs/{config.finding}{suffix}")
    runs.run(config, workdir)


def _build() -> None:
    path, _ = prepare.prepare_dataset(_CONFIG.value)
    reporting.log.info("the dataset: %s", path)


def _path(flag: flags.FlagHolder) -> Any:
    """The path of a flag; None where it is not given."""
    return Path(flag.value) if flag.value else None


def _evaluate() -> None:
    chosen = (_CHECKPOINT.value, _SPLIT.value)
    request = rescore.Request(_path(_WORKDIR), _MODEL.value, *chosen)
    options: Any = {"load_config": ConfigDict, "data_dir": _path(_DATA_DIR)}
    if _COMPARE.value is None:
        rescore.rescore(request, **options)
        return
    model = _COMPARE_MODEL.value or _MODEL.value
    other = rescore.Request(_path(_COMPARE), model, *chosen)
    rescore.compare(request, other, **options)


def _hit() -> readings.Hit:
    """The hit rule; a number that its rule does not read is refused."""
    rule, iou, distance = _HIT_RULE.value, _IOU.value, _DISTANCE.value
    for given, name in ((iou, "iou"), (distance, "distance")):
        if given is not None and rule != name:
            raise ValueError(f"--{name} is for --hit_rule={name}; the rule is {rule}")
    if iou is not None and not 0 < iou <= 1:
        raise ValueError(f"--iou={iou}: above 0, at most 1")
    if rule == "distance" and not (distance or 0) > 0:
        raise ValueError("--hit_rule=distance needs --distance=REACH, above 0")
    return readings.Hit(rule, 0.2 if iou is None else iou, distance or 0.0)


def _score() -> None:
    files = submissions.Files(
        images=_path(_IMAGES),
        lesions=_path(_LESIONS),
        detections=tuple(filter(None, map(_path, (_DETECTIONS, _DETECTIONS_B)))),
        category=_CATEGORY.value,
    )
    options = scores.Options(
        hit=_hit(),
        bootstrap=measure.Bootstrap(_REPLICATES.value, _SEED.value),
        title=_TITLE.value,
        pictures=_path(_PICTURES),
    )
    scores.score(files, _path(_OUT), options=options)


# mode -> what it does, the flags that it needs
MODES = {
    "run": (_run, ("config",)),
    "build": (_build, ("config",)),
    "evaluate": (_evaluate, ("workdir",)),
    "score": (_score, ("lesions", "detections", "out")),
}
_MODE = flags.DEFINE_enum("mode", "run", list(MODES), "What to do; see above.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}; see --help")
    function, needed = MODES[_MODE.value]
    missing = [f"--{name}" for name in needed if not flags.FLAGS[name].value]
    if missing:
        raise app.UsageError(f"--mode={_MODE.value} needs {', '.join(missing)}")
    reporting.set_up_logging()
    for noisy in ("absl", "jax", "openjpeg"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    jax.config.update("jax_compilation_cache_dir", str(Path("runs/.xla").absolute()))
    try:
        parallel.initialize()
        function()
    except (ValueError, OSError, FloatingPointError) as error:
        if _TRACEBACK.value:
            raise
        text = str(error)
        if getattr(error, "filename", None):  # the system's: names a path
            text = f"a file could not be used: {type(error).__name__}; see --traceback"
        reporting.log.error("%s", text)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
