"""VinDr-CXR, as downloaded from PhysioNet, to studies.csv and regions.csv beside it.

    python -m data.public.vindr_cxr --download DIR

Official layout below DIR: train/*.dicom, test/*.dicom, and in annotations/
annotations_train.csv, annotations_test.csv, image_labels_train.csv and
image_labels_test.csv.

Each training image was read by three radiologists independently; `readers.merge` makes
one consensus of the three. The labels of a test image are the consensus of five readers
and are taken as they are. Patients are not given: each image counts as one patient.

Reference: Nguyen et al., VinDr-CXR, Scientific Data 9:429, 2022; PhysioNet 1.0.0,
doi 10.13026/3akn-b287.
"""

import collections
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.guard import checks
from data.public import conversion, convert_command, official_files, readers

OFFICIAL = "VinDr-CXR 1.0.0 (physionet.org/content/vindr-cxr)"
NAMES = {"rib_fracture": "rib", "clavicle_fracture": "clavicle"}  # the registry's words
VIEW = "PA"  # of all images, as published; the headers don't say
_CORNERS = ("x_min", "y_min", "x_max", "y_max")
_CELLS = {"1": True, "1.0": True, "0": False, "0.0": False}
_CONSENSUS = "consensus"  # stands for a reader where no rad_id is given

_Notes = collections.Counter[str]


class _OfficialSplit(NamedTuple):
    """The official training or test images; a name is the file's without its ending."""

    name: str  # "train", "test"
    findings: tuple[str, ...]
    marks: dict[str, dict[str, dict[str, readers.Mark]]]  # image, reader, finding
    has_readers: bool  # whether a row is one reader's, and not a consensus


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
        agree: number of readers of a training image that must agree, see
            `readers.merge`.
        min_iou: overlap from which two boxes are of one lesion, in (0, 1].
        splits: "official" or "parts", see `convert_command`.
        validation_share: share of the training images that go to validation, in
            [0, 1).
        seed: of their choice.
        allow: checks that may pass.

    Raises:
        RegistryError: file, row and check of each problem, no image's name.
    """
    if agree < 1 or not 0 < min_iou <= 1:
        raise ValueError(f"agree={agree} must be >= 1, min_iou={min_iou} in (0, 1]")
    problems, notes = checks.Problems(allow), _Notes()
    train, test = (
        _read_part(root, name, problems, notes) for name in ("train", "test")
    )
    problems.raise_if_any()
    findings = tuple(name for name in train.findings if name in test.findings)
    alone = len({*train.findings, *test.findings}) - len(findings)
    notes["labels of one part only, left out"] = alone
    studies, regions = [], []
    for part, image in [(p, image) for p in (train, test) for image in p.marks]:
        consensus_of = _merge(part, image, findings, agree=agree, min_iou=min_iou)
        split = ""
        if splits == "official":
            split = _split(part, image, share=validation_share, seed=seed)
        study = _study(part, image, consensus_of, split=split)
        studies.append(study)
        for name, consensus in consensus_of.items():
            notes["lesions that too few readers drew, left out"] += consensus.dropped
            regions += [
                conversion.RegionRow(study.image, name, b) for b in consensus.boxes
            ]
    return conversion.Conversion(
        findings=findings,
        studies=tuple(studies),
        regions=tuple(regions),
        notes={**notes, **official_files.allowed_notes(problems)},
    )


def _merge(
    part: _OfficialSplit,
    image: str,
    findings: Sequence[str],
    *,
    agree: int,
    min_iou: float,
) -> dict[str, readers.Consensus]:
    """Finding -> consensus; one that is official already is taken as it is."""
    by_reader = part.marks[image].values()
    return {
        name: readers.merge(
            [marks[name] for marks in by_reader if name in marks],
            agree=agree if part.has_readers else 1,
            min_iou=min_iou,
        )
        for name in findings
    }


def _split(part: _OfficialSplit, image: str, *, share: float, seed: int) -> str:
    held_out = conversion.in_validation(image, share=share, seed=seed)
    return "validation" if part.name == "train" and held_out else part.name


def _study(
    part: _OfficialSplit,
    image: str,
    consensus_of: dict[str, readers.Consensus],
    *,
    split: str,
) -> conversion.StudyRow:
    return conversion.StudyRow(
        image=f"{part.name}/{image}.dicom",
        patient=image,
        labels={name: consensus.label for name, consensus in consensus_of.items()},
        split=split,
        view=VIEW,
    )


def _read_part(
    root: Path, name: str, problems: checks.Problems, notes: _Notes
) -> _OfficialSplit:
    """Labels and boxes of all readers of one part."""
    folder = root / "annotations"
    named = ("rad_id",) if name == "train" else ()
    labels = official_files.read_sheet(
        folder / f"image_labels_{name}.csv",
        columns=("image_id", *named),
        official=OFFICIAL,
        problems=problems,
    )
    boxes = official_files.read_sheet(
        folder / f"annotations_{name}.csv",
        columns=("image_id", *named, "class_name", *_CORNERS),
        official=OFFICIAL,
        problems=problems,
    )
    files = official_files.find_images(
        root, [root / name], suffix=".dicom", problems=problems
    )
    columns = {
        column: official_files.slug(column, names=NAMES)
        for column in labels.header
        if column not in ("image_id", "rad_id")
    }
    columns = {c: finding for c, finding in columns.items() if finding != "no_finding"}
    part = _OfficialSplit(name, tuple(columns.values()), {}, "rad_id" in labels.header)
    _read_labels(part, labels, columns, files, problems)
    _read_boxes(part, boxes, problems, notes)
    return part


def _read_labels(
    part: _OfficialSplit,
    sheet: official_files.Sheet,
    columns: dict[str, str],
    files: Collection[str],
    problems: checks.Problems,
) -> None:
    absent = set()
    for row, cells in sheet.records():
        image, who = cells["image_id"], cells.get("rad_id", _CONSENSUS)
        if f"{image}.dicom" not in files:
            if image not in absent:
                text = f"its image is not in {part.name}/; complete the download"
                problems.add(sheet.file, row, text, check="unreadable")
            absent.add(image)
            continue
        if who in part.marks.setdefault(image, {}):
            text = "the same reader and image as in an earlier row"
            problems.add(sheet.file, row, text, check="duplicate_image")
            continue
        marks = part.marks[image][who] = {}
        for column, finding in columns.items():
            if cells[column] in _CELLS:
                marks[finding] = readers.Mark(_CELLS[cells[column]])
            else:
                text = f"{column} is neither 0 nor 1"
                problems.add(sheet.file, row, text, check="bad_value")


def _read_boxes(
    part: _OfficialSplit,
    sheet: official_files.Sheet,
    problems: checks.Problems,
    notes: _Notes,
) -> None:
    for row, cells in sheet.records():
        finding = official_files.slug(cells["class_name"], names=NAMES)
        who = cells.get("rad_id", _CONSENSUS)
        marks = part.marks.get(cells["image_id"], {}).get(who)
        corners = [cells[name] for name in _CORNERS]
        if marks is None:
            text = (
                f"its image and reader have no usable row of image_labels_{part.name}"
            )
            problems.add(sheet.file, row, text, check="box_without_study")
        elif finding == "no_finding":
            continue
        elif finding not in part.findings:
            text = f"class_name is not a column of image_labels_{part.name}.csv"
            problems.add(sheet.file, row, text, check="unknown_site")
        else:
            mark = marks.get(finding, readers.Mark(False))
            unsaid = "findings drawn but not labelled by a reader: counted as seen"
            notes[unsaid] += not mark.is_positive
            try:
                box = (
                    [official_files.parse_box(corners, as_size=False)]
                    if any(corners)
                    else []
                )
            except ValueError:
                text = f"{', '.join(_CORNERS)} must be a box with an area"
                problems.add(sheet.file, row, text, check="box_outside")
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
    add(
        "--agree",
        type=int,
        default=2,
        help="how many of the three readers must agree (2)",
    )
    add(
        "--min_iou",
        type=float,
        default=0.5,
        help="intersection over union from which two boxes are of one lesion (0.5)",
    )
    convert_command.run(convert, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
