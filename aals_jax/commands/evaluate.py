"""`--mode=evaluate`: a run's model measured again, or paired with another one."""

from typing import Any

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "evaluate",
    summary="measures a model of a run again, or pairs it with another one",
    example="""\
python launch.py --mode=evaluate --workdir runs/clavicle
python launch.py --mode=evaluate --workdir runs/a --compare runs/b""",
    required=("workdir",),
)
_ASKED = COMMAND.group("What to measure")
_WORKDIR = _ASKED.path(
    "workdir", None, "Folder of the run, finished or not.", placeholder="DIR"
)
_MODEL = _ASKED.choice(
    "model",
    ("pretrained", "pretrained_average", "student", "teacher"),
    "Model to measure: the student or its moving average, of stage 1 (pretrained, "
    "pretrained_average) or of stage 2 (student, teacher).",
    default="teacher",
    placeholder="MODEL",
)
_CHECKPOINT = _ASKED.text(
    "checkpoint",
    "best",
    "Checkpoint of the model's stage: the one that validation chose (best), the newest "
    "(last), or the number of a step that was kept.",
    placeholder="best|last|N",
)
_SPLIT = _ASKED.choice(
    "split",
    ("train", "validation", "test"),
    "Images to measure on.",
    default="test",
)
_COMPARED = COMMAND.group("What to pair it with")
_COMPARE = _COMPARED.path(
    "compare",
    None,
    "Folder of a run whose model is measured on the same images; the page then shows "
    "the paired differences.",
    placeholder="DIR",
)
_COMPARE_MODEL = _COMPARED.text(
    "compare_model",
    None,
    "Model of that run. Without it: the same as --model.",
    placeholder="MODEL",
)
_DATA_DIR = COMMAND.group("Where the data are").path(
    "data_dir",
    "runs/datasets",
    "Folder of the prepared datasets; the run's is found there by its hash.",
    placeholder="DIR",
)


_STUDY_FACTS = COMMAND.group("What the study's author states").path(
    "study_facts",
    None,
    "TOML file of what the data can't tell, for the page's checklists of reporting; "
    "--mode=score --study_template=FILE writes an empty one.",
)
_TABLE = COMMAND.group("What is written").words(
    "table",
    None,
    "Results as tables for a paper too, any of latex, markdown, csv: results.tex, "
    "results.md, results.csv beside metrics.json.",
)


_BOOTSTRAP = COMMAND.group("Intervals, by a bootstrap that draws patients")
_REPLICATES = _BOOTSTRAP.integer(
    "replicates",
    None,
    "How many times the patients are drawn. Without it: as the run's config says.",
    lowest=1,
)
_SEED = _BOOTSTRAP.integer(
    "bootstrap_seed",
    None,
    "Seed of the draws. Without it: as the run's config says.",
    lowest=0,
)


@COMMAND.check
def _faults() -> list[str]:
    return COMMAND.unread(
        (_COMPARE_MODEL,),
        when=_COMPARE.value is not None,
        needs="--compare, which is missing",
    )


def call() -> None:
    from ml_collections import ConfigDict

    from aals_jax.evaluation import study_facts
    from aals_jax.report import result_tables
    from aals_jax.runs import evaluate

    tables = result_tables.check(_TABLE.value or ())
    study = study_facts.UNSTATED
    if _STUDY_FACTS.value:
        study = study_facts.read(_STUDY_FACTS.value)
    COMMAND.start_devices()
    chosen = (_CHECKPOINT.value, _SPLIT.value)
    choice = evaluate.ModelChoice(_WORKDIR.value, _MODEL.value, *chosen)
    if _WORKDIR.value.is_dir():  # else it is refused below
        COMMAND.own(_WORKDIR.value / "evaluations", private=True)
    options: Any = {
        "load_config": ConfigDict,
        "data_dir": _DATA_DIR.value,
        "tables": tables,
        "study": study,
        "bootstrap": {
            name: flag.value
            for name, flag in (("replicates", _REPLICATES), ("seed", _SEED))
            if flag.value is not None
        },
    }
    if _COMPARE.value is None:
        evaluate.evaluate(choice, **options)
        return
    model = _COMPARE_MODEL.value or _MODEL.value
    other = evaluate.ModelChoice(_COMPARE.value, model, *chosen)
    evaluate.compare(choice, other, **options)
