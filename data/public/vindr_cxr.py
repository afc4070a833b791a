"""VinDr-CXR, as downloaded from PhysioNet, to studies.csv and regions.csv beside it.

    python -m data.public.vindr_cxr --download DIR

Official layout below DIR: train/*.dicom, test/*.dicom, and in annotations/
annotations_train.csv, annotations_test.csv, image_labels_train.csv and
image_labels_test.csv.

Each training image was read by three radiologists on their own; `readers.merge` is the
rule that makes one reading of them. A test image has one reading, the consensus of
five, and is taken as it is. Patients are not given: each image is a patient of its own.

Reference: Nguyen et al., VinDr-CXR, Scientific Data 9:429, 2022; PhysioNet 1.0.0,
doi 10.13026/3akn-b287.
"""

import collections
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.guard import problems
from data.public import conversion, convert_command, download, readers

OFFICIAL = "VinDr-CXR 1.0.0 (physionet.org/content/vindr-cxr)"
NAMES = {"rib_fracture": "rib", "clavicle_fracture": "clavicle"}  # the registry's words
VIEW = "PA"  # of all images, as published; the headers don't say
_CORNERS = ("x_min", "y_min", "x_max", "y_max")
_SAID = {"1": True, "1.0": True, "0": False, "0.0": False}
_CONSENSUS = "consensus"  # stands for a reader where no rad_id is given

_Notes = collections.Counter[str]


class _Part(NamedTuple):
    """Training or test part; an image is the name of its file without the ending."""

    name: str  # "train", "test"
    findings: tuple[str, ...]
    marks: dict[str, dict[str, dict[str, readers.Mark]]]  # image, reader, finding
    has_readers: bool  # whether rows are single readers', not a consensus


def convert(
    root: Path,
    *,
    agree: int = 2,
    min_iou: float = 0.5,
    splits: str = "official",
    validation_share: float = 0.1,
    seed: int = 0,
    allow: Collection[str] = (),
) -> conversion.Conversion:
    """Reads a download; every problem is reported at once.

    Args:
        root: the folder of the download.
        agree: readers of a training image that must agree, see `readers.merge`.
        min_iou: overlap from which two boxes are of one lesion, in (0, 1].
        splits: "official" or "parts", see `convert_command`.
        validation_share: of the training images, in [0, 1).
        seed: of that choice.
        allow: checks that may pass.

    Raises:
        RegistryError: file, row and check of each problem, no image's name.
    """
    if agree < 1 or not 0 < min_iou <= 1:
        raise ValueError(f"agree={agree}, min_iou={min_iou}: >= 1 and in (0, 1] work")
    audit, notes = problems.Audit(allow), _Notes()
    train, test = (_read_part(root, name, audit, notes) for name in ("train", "test"))
    audit.stop()
    findings = tuple(name for name in train.findings if name in test.findings)
    alone = len({*train.findings, *test.findings}) - len(findings)
    notes["labels of one part only, left out"] = alone
    studies, regions = [], []
    for part, image in [(p, image) for p in (train, test) for image in p.marks]:
        readings = _merge(part, image, findings, agree=agree, min_iou=min_iou)
        split = ""
        if splits == "official":
            split = _split(part, image, share=validation_share, seed=seed)
        study = _study(part, image, readings, split=split)
        studies.append(study)
        for name, reading in readings.items():
            notes["lesions that too few readers drew, left out"] += reading.dropped
            regions += [conversion.Region(study.image, name, b) for b in reading.boxes]
    return conversion.Conversion(
        findings=findings,
        studies=tuple(studies),
        regions=tuple(regions),
        notes={**notes, **download.passed(audit)},
    )


def _merge(
    part: _Part, image: str, findings: Sequence[str], *, agree: int, min_iou: float
) -> dict[str, readers.Reading]:
    """One reading a finding; a consensus counts as it is."""
    by_reader = part.marks[image].values()
    return {
        name: readers.merge(
            [marks[name] for marks in by_reader if name in marks],
            agree=agree if part.has_readers else 1,
            min_iou=min_iou,
        )
        for name in findings
    }


def _split(part: _Part, image: str, *, share: float, seed: int) -> str:
    held_out = conversion.in_validation(image, share=share, seed=seed)
    return "validation" if part.name == "train" and held_out else part.name


def _study(
    part: _Part, image: str, readings: dict[str, readers.Reading], *, split: str
) -> conversion.Study:
    return conversion.Study(
        image=f"{part.name}/{image}.dicom",
        patient=image,
        labels={name: reading.label for name, reading in readings.items()},
        split=split,
        view=VIEW,
    )


def _read_part(root: Path, name: str, audit: problems.Audit, notes: _Notes) -> _Part:
    """Labels and boxes of all readers of one part."""
    folder = root / "annotations"
    named = ("rad_id",) if name == "train" else ()
    labels = download.read_sheet(
        folder / f"image_labels_{name}.csv",
        columns=("image_id", *named),
        official=OFFICIAL,
        audit=audit,
    )
    boxes = download.read_sheet(
        folder / f"annotations_{name}.csv",
        columns=("image_id", *named, "class_name", *_CORNERS),
        official=OFFICIAL,
        audit=audit,
    )
    files = download.find_images(root, [root / name], suffix=".dicom", audit=audit)
    columns = {
        column: download.slug(column, names=NAMES)
        for column in labels.header
        if column not in ("image_id", "rad_id")
    }
    columns = {c: finding for c, finding in columns.items() if finding != "no_finding"}
    part = _Part(name, tuple(columns.values()), {}, "rad_id" in labels.header)
    _read_labels(part, labels, columns, files, audit)
    _read_boxes(part, boxes, audit, notes)
    return part


def _read_labels(
    part: _Part,
    sheet: download.Sheet,
    columns: dict[str, str],
    files: Collection[str],
    audit: problems.Audit,
) -> None:
    absent = set()
    for row, cells in sheet.records():
        image, who = cells["image_id"], cells.get("rad_id", _CONSENSUS)
        if f"{image}.dicom" not in files:
            if image not in absent:
                text = f"its image is not in {part.name}/; complete the download"
                audit.report(sheet.file, row, "unreadable", text)
            absent.add(image)
            continue
        if who in part.marks.setdefault(image, {}):
            text = "the same reader and image as in an earlier row"
            audit.report(sheet.file, row, "duplicate_image", text)
            continue
        marks = part.marks[image][who] = {}
        for column, finding in columns.items():
            if cells[column] in _SAID:
                marks[finding] = readers.Mark(_SAID[cells[column]])
            else:
                text = f"{column} is neither 0 nor 1"
                audit.report(sheet.file, row, "bad_value", text)


def _read_boxes(
    part: _Part, sheet: download.Sheet, audit: problems.Audit, notes: _Notes
) -> None:
    for row, cells in sheet.records():
        finding = download.slug(cells["class_name"], names=NAMES)
        who = cells.get("rad_id", _CONSENSUS)
        marks = part.marks.get(cells["image_id"], {}).get(who)
        corners = [cells[name] for name in _CORNERS]
        if marks is None:
            text = (
                f"its image and reader have no usable row of image_labels_{part.name}"
            )
            audit.report(sheet.file, row, "box_without_study", text)
        elif finding == "no_finding":
            continue
        elif finding not in part.findings:
            text = f"class_name is no column of image_labels_{part.name}.csv"
            audit.report(sheet.file, row, "unknown_site", text)
        else:
            mark = marks.get(finding, readers.Mark(False))
            unsaid = "findings drawn but not labelled by a reader: counted as seen"
            notes[unsaid] += not mark.said
            try:
                box = (
                    [download.parse_box(corners, as_size=False)] if any(corners) else []
                )
            except ValueError:
                text = f"{', '.join(_CORNERS)} are no box of some area"
                audit.report(sheet.file, row, "box_outside", text)
                continue
            marks[finding] = readers.Mark(True, (*mark.boxes, *box))


def main(arguments: list[str] | None = None) -> None:
    """Converts by the flags of --help."""
    parser = convert_command.parser(
        "data.public.vindr_cxr",
        description="VinDr-CXR to a registry: labels and boxes of several readers "
        "merged; rib and clavicle fracture are named rib and clavicle.",
    )
    add = parser.add_argument
    add("--agree", type=int, default=2, help="readers of three that must agree (2)")
    add(
        "--min_iou", type=float, default=0.5, help="overlap of one lesion's boxes (0.5)"
    )
    convert_command.run(convert, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
