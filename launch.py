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
    --mode=audit     a registry looked through, nothing built; 1 when a fault stands:
        --registry DIR [--findings rib,clavicle] [--out DIR] [--nopixels]
        [--allow CHECKS] [--reports auto|always|never]
    --mode=sweep     many runs from one file, killed and called again as you like:
        --sweep configs/sweeps/comparison.py --workdir DIR
        [--list | --index N]   needs no Ray: a command a trial, or one trial
    --mode=study     tables and figures of docs/study.md from the trials it keeps:
        [--sweep FILE] [--results DIR] [--out docs/study.md] [--workdir SWEEPDIR]
"""

import logging
import sys
from pathlib import Path
from typing import Any

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from aals_jax.evaluation import score as scores
from aals_jax.evaluation import submissions
from aals_jax.input import audit as audits
from aals_jax.input import prepare
from aals_jax.metrics import definitions as measure
from aals_jax.metrics import draws, readings
from aals_jax.runs import evaluate as rescore
from aals_jax.runs import run as runs
from aals_jax.runtime import devices as parallel
from aals_jax.runtime import log as reporting
from aals_jax.study import page as studies
from aals_jax.sweeps import driver as sweeps
from data.cxr_registry.guard import failures
from data.cxr_registry.labels import report_text as texts
from data.cxr_registry.tables import records

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
_OUT = flags.DEFINE_string("out", None, "Folder to write to; of a study, its page.")
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

# --mode=audit
_REGISTRY = flags.DEFINE_string("registry", None, "Folder of a registry.")
_FINDINGS = flags.DEFINE_list(
    "findings", None, "Findings to count; default: those that the table defines."
)
_ALLOW = flags.DEFINE_list("allow", [], "Checks of the registry that may pass.")
_PIXELS = flags.DEFINE_bool("pixels", True, "Read the images too.")
_WORKERS = flags.DEFINE_integer(
    "workers", 2, "Processes; 0: this one, without a time limit.", lower_bound=0
)
_TIMEOUT = flags.DEFINE_float("timeout_s", 60.0, "Seconds for one file.")
_PARTS_SEED = flags.DEFINE_integer("parts_seed", 0, "Of the ten parts.")
_BAD_SHARE = flags.DEFINE_float(
    "max_bad_share", 0.02, "Of unusable images, before they are a fault."
)
_NON_ACUTE = flags.DEFINE_bool(
    "keep_non_acute", False, "Codes of later encounters and sequelae are positive."
)
_POINT_RADIUS = flags.DEFINE_float("point_radius", 32.0, "Stored pixels.")
_REPORTS = flags.DEFINE_enum(
    "reports", "auto", texts.READ, "Labels from reports; auto: where nothing else does."
)
_LANGUAGES = flags.DEFINE_list("report_languages", ["en"], "Of the reports: en, de.")
_RULES = flags.DEFINE_string("report_rules", None, "A table of your own patterns.")
_SILENCE = flags.DEFINE_enum(
    "report_silence", "negative", list(texts.SILENCE), "What no mention means."
)

# --mode=sweep, --mode=study
_SWEEP = flags.DEFINE_string(
    "sweep", None, "The sweep file, such as configs/sweeps/tiny.py or :argument after."
)
_LIST = flags.DEFINE_bool("list", False, "Print a command a trial, its hash and state.")
_INDEX = flags.DEFINE_integer("index", None, "Run this trial of the list and no other.")
_TRIAL = flags.DEFINE_string("trial", None, "As --index, by hash; the driver's own.")
_CPUS = flags.DEFINE_integer(
    "cpus_per_trial",
    None,
    "Cores that a trial is pinned to; default: 1, with --index all.",
    lower_bound=0,
)
_GPUS = flags.DEFINE_float(
    "gpus_per_trial", 0.0, "Of the machine or the Ray cluster.", lower_bound=0.0
)
_AT_ONCE = flags.DEFINE_integer(
    "trials_at_once", 0, "At most; 0: what the cores and GPUs allow.", lower_bound=0
)
_RETRIES = flags.DEFINE_integer("retries", 1, "Of a failed trial.", lower_bound=0)
_RESULTS = flags.DEFINE_string("results", None, "Folder of a study's kept trials.")


def _run() -> None:
    config = _CONFIG.value
    suffix = "" if config.scale == "laptop" else f"-{config.scale}"
    workdir = Path(_WORKDIR.value or f"runs/{config.finding}{suffix}")
    runs.run(config, workdir)


def _build() -> None:
    reporting.log.info("the dataset: %s", prepare.prepare_dataset(_CONFIG.value)[0])


def _path(flag: flags.FlagHolder) -> Any:
    """The path of a flag; None where it is not given."""
    return Path(flag.value) if flag.value else None


def _evaluate() -> None:
    chosen = (_CHECKPOINT.value, _SPLIT.value)
    request = rescore.ModelChoice(_path(_WORKDIR), _MODEL.value, *chosen)
    options: Any = {"load_config": ConfigDict, "data_dir": _path(_DATA_DIR)}
    if _COMPARE.value is None:
        rescore.evaluate(request, **options)
        return
    model = _COMPARE_MODEL.value or _MODEL.value
    other = rescore.ModelChoice(_path(_COMPARE), model, *chosen)
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
    options = scores.ScoreOptions(
        hit=_hit(),
        bootstrap=draws.Bootstrap(_REPLICATES.value, _SEED.value),
        title=_TITLE.value,
        pictures=_path(_PICTURES),
    )
    scores.score(files, _path(_OUT), options=options)


def _audit() -> None:
    reading = records.Options(
        keep_non_acute=_NON_ACUTE.value,
        point_radius=_POINT_RADIUS.value,
        reports=texts.Options(
            read=_REPORTS.value,
            languages=tuple(_LANGUAGES.value),
            rules=_path(_RULES),
            silence=_SILENCE.value,
        ),
        workers=_WORKERS.value,
    )
    request = audits.Request(
        registry=_path(_REGISTRY),
        out=_path(_OUT) or Path("runs/audit"),
        findings=tuple(_FINDINGS.value) if _FINDINGS.value else None,
        allow=tuple(_ALLOW.value),
        pixels=_PIXELS.value,
        seed=_PARTS_SEED.value,
        max_bad_share=_BAD_SHARE.value,
        timeout_s=_TIMEOUT.value,
        reading=reading,
    )
    if not audits.audit(request):
        sys.exit(1)


def _sweep() -> None:
    assert _SWEEP.value and _WORKDIR.value  # see MODES
    job = sweeps.Job(
        file=_SWEEP.value,
        root=Path(_WORKDIR.value),
        cpus=_CPUS.value,
        gpus=_GPUS.value,
        at_once=_AT_ONCE.value,
        retries=_RETRIES.value,
    )
    if _LIST.value:
        print("\n".join(sweeps.listed(job)))
    elif _INDEX.value is not None:
        sweeps.run_index(job, _INDEX.value, load_config=ConfigDict)
    elif _TRIAL.value:
        sweeps.run_child(job, _TRIAL.value, load_config=ConfigDict)
    else:
        sweeps.run(job)


def _study() -> None:
    studies.run(_SWEEP.value, _path(_RESULTS), _path(_OUT), _path(_WORKDIR))


# mode -> what it does, the flags that it needs
MODES = {
    "run": (_run, ("config",)),
    "build": (_build, ("config",)),
    "evaluate": (_evaluate, ("workdir",)),
    "score": (_score, ("lesions", "detections", "out")),
    "audit": (_audit, ("registry",)),
    "sweep": (_sweep, ("sweep", "workdir")),
    "study": (_study, ()),
}
_MODE = flags.DEFINE_enum("mode", "run", list(MODES), "What to do; see above.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}; see --help")
    function, needed = MODES[_MODE.value]
    missing = [f"--{name}" for name in needed if not flags.FLAGS[name].value]
    if missing:
        raise app.UsageError(f"--mode={_MODE.value} needs {', '.join(missing)}")
    failures.guard()
    reporting.set_up_logging()
    for noisy in ("absl", "jax", "openjpeg"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if _TRACEBACK.value:  # whole, so that it is seen who raised it
        jax.config.update("jax_traceback_filtering", "off")
    jax.config.update("jax_compilation_cache_dir", str(Path("runs/.xla").absolute()))
    try:
        parallel.initialize()
        function()
    except Exception as error:  # Python's own printout may name a patient
        if _TRACEBACK.value:
            sys.stderr.write(failures.trace(error))
        reporting.log.error("%s", failures.message(error))
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
