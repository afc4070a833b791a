"""`--mode=worklist`: the films of a run that somebody should box next."""

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "worklist",
    summary="ranks films without boxes by what a box is expected to teach",
    example="""\
python launch.py --mode=worklist --workdir runs/clavicle --count 50 --out runs/next
python launch.py --mode=worklist --workdir runs/a --workdirs runs/b,runs/c --out DIR""",
    required=("workdir", "out"),
)
_ASKED = COMMAND.group("Whose films, and how many")
_WORKDIR = _ASKED.path(
    "workdir",
    None,
    "Folder of the run. Films of its training that have no box are asked about: those "
    "of P, of unknown label, and of N where something is found.",
    placeholder="DIR",
)
_COUNT = _ASKED.integer(
    "count", 50, "Films wanted. A smaller number gives the beginning of the same list."
)
_NEGATIVES = _ASKED.integer(
    "negatives",
    2000,
    "At most so many films of N are looked at, drawn at random from more.",
    lowest=0,
)
_SEED = _ASKED.integer("negatives_seed", 0, "Seed of that draw of films.", lowest=0)
_MODELS = COMMAND.group("What looks at them")
_MODEL = _MODELS.choice(
    "model",
    ("pretrained", "pretrained_average", "student", "teacher"),
    "Network whose peaks are meant. It is compared with the other network of its "
    "stage, with stage 1 and with its own mirrored view.",
    default="teacher",
    placeholder="MODEL",
)
_WORKDIRS = _MODELS.words(
    "workdirs",
    [],
    "Folders of other runs on the same data, such as of other seeds, to compare with "
    "too; separated by commas.",
)
_DATA_DIR = COMMAND.group("Where the data are").path(
    "data_dir",
    "runs/datasets",
    "Folder of the prepared datasets; the run's is found there by its hash.",
    placeholder="DIR",
)
_WRITTEN = COMMAND.group("What is written")
_OUT = _WRITTEN.path(
    "out",
    None,
    "Folder for the table, the pictures, the page, and candidate boxes for CVAT (COCO) "
    "and Label Studio. It holds health data.",
    placeholder="DIR",
)
_CANDIDATES = _WRITTEN.integer(
    "candidates",
    3,
    "Candidate boxes of a film, at most; 0 lets people draw without any.",
    lowest=0,
)


def call() -> None:
    from pathlib import Path

    from ml_collections import ConfigDict

    from aals_jax.runs import worklist

    options = worklist.Options(
        workdir=_WORKDIR.value,
        out=_OUT.value,
        count=_COUNT.value,
        data_dir=_DATA_DIR.value,
        model=_MODEL.value,
        workdirs=tuple(Path(text) for text in _WORKDIRS.value),
        negatives=_NEGATIVES.value,
        seed=_SEED.value,
        candidates=_CANDIDATES.value,
    )
    COMMAND.start_devices()
    if _WORKDIR.value.is_dir():  # else it is refused below
        COMMAND.own(_OUT.value, private=True)
    worklist.write(options, load_config=ConfigDict)
