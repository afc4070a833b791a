"""`--mode=export`: a finished run's model as a folder that one can hand over."""

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "export",
    summary="writes a run's model, checked and described, into a folder to hand over",
    example="""\
python launch.py --mode=export --workdir runs/clavicle --out models/clavicle""",
    required=("workdir", "out"),
)
_ASKED = COMMAND.group("Which model")
_WORKDIR = _ASKED.path(
    "workdir", None, "Folder of the run, which has to be finished.", placeholder="DIR"
)
_MODEL = _ASKED.choice(
    "model",
    ("pretrained", "pretrained_average", "student", "teacher"),
    "Network of the run, at the checkpoint that validation chose: the student or its "
    "moving average, of stage 1 (pretrained, pretrained_average) or of stage 2.",
    default="teacher",
    placeholder="MODEL",
)
_DATA_DIR = COMMAND.group("Where the data are").path(
    "data_dir",
    "runs/datasets",
    "Folder of the prepared datasets; the run's is found there by its hash, and "
    "calibration is fitted on its validation images.",
    placeholder="DIR",
)
_WRITTEN = COMMAND.group("What is written")
_OUT = _WRITTEN.path(
    "out", None, "Folder of the model, which must hold none yet.", placeholder="DIR"
)
_ONNX = _WRITTEN.switch(
    "onnx",
    False,
    "Write the net as ONNX too, if it converts and onnxruntime computes the same. "
    "Needs requirements/onnx.txt and jax2onnx.",
)
_LICENSE = _WRITTEN.text(
    "license",
    "",
    "Licence of the weights as hubs abbreviate it, for the model card. Without it: "
    "unknown.",
    placeholder="ID",
)


def call() -> None:
    from ml_collections import ConfigDict

    from aals_jax.handover import export

    COMMAND.start_devices()
    if _WORKDIR.value.is_dir():  # else it is refused below
        COMMAND.own(_OUT.value)
    export.export(
        _WORKDIR.value,
        _OUT.value,
        model=_MODEL.value,
        license=_LICENSE.value,
        onnx=_ONNX.value,
        load_config=ConfigDict,
        data_dir=_DATA_DIR.value,
    )
