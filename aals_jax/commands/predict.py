"""`--mode=predict`: films through an exported model; 1 when one is refused."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from aals_jax.commands.command_line import Command

COMMAND = Command(
    "predict",
    summary="finds boxes on films, or on those of a PACS, by a model handed over",
    example="""\
python launch.py --mode=predict --model models/clavicle --input DIR --out runs/films
python launch.py --mode=predict --model models/clavicle --out runs/archive \\
  --dicomweb https://pacs.example/dicom-web --since 12h --watch 60""",
    required=("model", "out"),
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
_ARCHIVE = COMMAND.group("Films of an archive (PACS), in place of --input")
_DICOMWEB = _ARCHIVE.text(
    "dicomweb",
    None,
    "Root of the archive's DICOMweb service. Films are fetched from there, and SR and "
    "Secondary Capture are stored there. Credentials: AALS_DICOMWEB_USER and "
    "AALS_DICOMWEB_PASSWORD, or AALS_DICOMWEB_TOKEN, or a netrc file.",
    placeholder="URL",
)
_STUDY = _ARCHIVE.text(
    "study", None, "Study Instance UID of the one study to read.", placeholder="UID"
)
_SINCE = _ARCHIVE.text(
    "since",
    None,
    "Reads studies of this time or later, by their StudyDate and StudyTime: "
    "2026-11-30, 2026-11-30T08:00, or 12h or 7d before each query.",
    placeholder="TIME",
)
_WATCH = _ARCHIVE.number(
    "watch",
    None,
    "Asks again every so many seconds, until a signal comes, and goes on after faults.",
    lowest=1.0,
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
    "Modality DR, XR, OT and SC as radiographs; plain_http speaks to an archive "
    "without encryption.",
)
_WRITTEN = COMMAND.group("What is written")
_OUT = _WRITTEN.path(
    "out",
    None,
    "Folder for the findings, the pictures, the page and files.csv, which says which "
    "film is which file; with --dicomweb ledger.jsonl, which says which film of the "
    "archive it is. It holds health data.",
    placeholder="DIR",
)
_DICOM = COMMAND.group("DICOM objects of films that are DICOM")
_SR = _DICOM.switch(
    "sr",
    True,
    "Write a structured report and a Secondary Capture of each film that is DICOM, for "
    "viewers. They name the patient as the film does. Needs requirements/sr.txt.",
)
_PRESENTATION = _DICOM.switch(
    "presentation_state",
    False,
    "Write a Softcopy Presentation State too: the boxes as graphics that a viewer lays "
    "over the film.",
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
    "timeout_s",
    60.0,
    "Seconds that one file may take before it is refused, and an archive to answer.",
)
_CHECKS = ("modality", "plain_http")


@COMMAND.check
def _faults() -> list[str]:
    asks_archive = bool(_DICOMWEB.value)
    faults = COMMAND.unread(
        [_STUDY, _SINCE, _WATCH],
        when=asks_archive,
        needs="--dicomweb, which is missing",
    )
    faults += COMMAND.unread(
        [_SR], when=not asks_archive or _SR.value, needs="--input: an archive gets SRs"
    )
    faults += COMMAND.unread([_PRESENTATION], when=_SR.value, needs="--sr")
    if bool(_INPUT.value) == asks_archive:
        faults.append("give either --input or --dicomweb")
    if asks_archive and bool(_STUDY.value) == bool(_SINCE.value):
        faults.append("--dicomweb needs either --study or --since")
    if asks_archive and _STUDY.value:
        faults += COMMAND.unread([_WATCH], when=False, needs="--since")
    return faults


def call() -> None:
    from ml_collections import ConfigDict

    from aals_jax.handover import predict, station

    if unknown := sorted({*_ALLOW.value} - {*_CHECKS}):
        raise ValueError(f"--allow={','.join(unknown)}: use {', '.join(_CHECKS)}")
    asked = _asked_of_archive() if _DICOMWEB.value else None
    COMMAND.start_devices()
    COMMAND.own(_OUT.value, private=True)
    desk = station.Station(
        _MODEL.value,
        station.Options(
            out=_OUT.value,
            point=_POINT.value,
            allow=tuple(_ALLOW.value),
            batch_size=_BATCH.value,
            workers=_WORKERS.value,
            timeout_s=_TIMEOUT.value,
            sr=_SR.value,
            presentation=_PRESENTATION.value,
            uid_root=_UID_ROOT.value,
            # in an archive a film's answer stays one object, however often it is made
            same_uids=_DETERMINISTIC.value or asked is not None,
            same_dates=_DETERMINISTIC.value,
        ),
        load_config=ConfigDict,
    )
    if asked is not None:
        from aals_jax.handover import pacs

        done = pacs.answer(desk, asked)
    else:
        # one path may have commas in it
        whole = Path(",".join(_INPUT.value))
        paths = [whole] if whole.exists() else [Path(text) for text in _INPUT.value]
        done = predict.predict(desk, paths)
    if not done:
        sys.exit(1)


def _asked_of_archive() -> Any:
    """What is asked of the archive, checked before a model is loaded."""
    if importlib.util.find_spec("dicomweb_client") is None:
        raise ValueError(
            "--dicomweb needs dicomweb-client: pip install -r requirements/sr.txt"
        )
    from aals_jax.handover import pacs

    return pacs.asked(
        _DICOMWEB.value,
        study=_STUDY.value or "",
        since=_SINCE.value or "",
        watch_s=_WATCH.value,
        allow=tuple(_ALLOW.value),
    )
