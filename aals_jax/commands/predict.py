"""`--mode=predict`: films through an exported model; 1 when one is refused."""

import sys
from pathlib import Path

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "predict",
    summary="finds boxes on films by a model that was handed over",
    example="""\
python launch.py --mode=predict --model models/clavicle --input DIR --out runs/films""",
    required=("model", "input", "out"),
)
_ASKED = COMMAND.group("What is asked")
_MODEL = _ASKED.path(
    "model", None, "Folder that --mode=export wrote.", placeholder="DIR"
)
_INPUT = _ASKED.words(
    "input",
    None,
    "Files (DICOM, PNG, JPEG), folders with such files, or the DICOMDIR of a disc, "
    "separated by commas.",
)
_POINT = _ASKED.text(
    "point",
    "",
    "Operating point of lesions from which on a box is reported and drawn. Without it: "
    "the strictest one of the model. All boxes are in the JSON.",
    placeholder="NAME",
)
_ALLOW = _ASKED.words(
    "allow",
    [],
    "Names of checks that may fail, separated by commas: modality reads images of "
    "Modality DR, XR, OT and SC as radiographs.",
)
_WRITTEN = COMMAND.group("What is written")
_OUT = _WRITTEN.path(
    "out",
    None,
    "Folder for the findings, the pictures, the page and files.csv, which says which "
    "film is which file. It holds health data.",
    placeholder="DIR",
)
_DICOM = COMMAND.group("DICOM objects of films that are DICOM")
_SR = _DICOM.switch(
    "sr",
    True,
    "Write a structured report and a Secondary Capture of each film that is DICOM, for "
    "viewers. They name the patient as the film does. Needs requirements/sr.txt.",
)
_UID_ROOT = _DICOM.text(
    "uid_root",
    "2.25",
    "Root of the UIDs that are made, if you have one of your own.",
    placeholder="UID",
)
_DETERMINISTIC = _DICOM.switch(
    "deterministic",
    False,
    "Make the same objects of the same film: UIDs by a hash, the date of its study.",
)
_WORK = COMMAND.group("Devices and processes")
_BATCH = _WORK.integer(
    "batch_size",
    None,
    "Films that the net works on at once. Without it: as many as the run's evaluation.",
    lowest=1,
)
_WORKERS = _WORK.integer(
    "workers",
    2,
    "Number of processes that decode, and as many that write; 0 does both in this one, "
    "without --timeout_s.",
    lowest=0,
)
_TIMEOUT = _WORK.number(
    "timeout_s", 60.0, "Seconds that one file may take before it is refused."
)
_CHECKS = ("modality",)


def call() -> None:
    from ml_collections import ConfigDict

    from aals_jax.handover import predict

    if unknown := sorted({*_ALLOW.value} - {*_CHECKS}):
        raise ValueError(f"--allow={','.join(unknown)}: use {', '.join(_CHECKS)}")
    # one path may have commas in it
    whole = Path(",".join(_INPUT.value))
    asked = [whole] if whole.exists() else [Path(text) for text in _INPUT.value]
    COMMAND.start_devices()
    COMMAND.own(_OUT.value, private=True)
    options = predict.Options(
        asked=asked,
        out=_OUT.value,
        point=_POINT.value,
        allow=tuple(_ALLOW.value),
        batch_size=_BATCH.value,
        workers=_WORKERS.value,
        timeout_s=_TIMEOUT.value,
        sr=_SR.value,
        uid_root=_UID_ROOT.value,
        deterministic=_DETERMINISTIC.value,
    )
    if not predict.predict(_MODEL.value, options, load_config=ConfigDict):
        sys.exit(1)
