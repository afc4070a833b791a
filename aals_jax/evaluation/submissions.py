"""Anybody's detections: tables or COCO files to the records that metrics are made of.

From top to bottom: the faults that are collected, the record that is made, `read`,
then what it takes from the images table, and from the lesions and detections.

Every fault of every file is reported at once, with file and row; a row's number is the
one that a spreadsheet shows. A message never repeats a cell, which may name a patient.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aals_jax.evaluation import coco, readers
from aals_jax.metrics import readings
from data.cxr_registry.guard import checks
from data.cxr_registry.tables import formats
from data.cxr_registry.tables.formats import Table

_BOX, _POINT = ("x0", "y0", "x1", "y1"), ("x", "y")
RESERVED = frozenset(
    {"image", "patient", "patient_id", "label", "score", "score_b", "split", "width"}
    | {"height", ""}
)
LABELS = {
    "1": True,
    "1.0": True,
    "true": True,
    "0": False,
    "0.0": False,
    "false": False,
}
MOST_GROUPS = 12  # values of a column that is reported by group
OTHER = "other"  # stands for a value that would name its patient
SPLITS = ("validation", "test")
_DATE = re.compile(
    r"(?:19|20)\d{2}([-/.]?)[01]\d\1[0-3]\d|\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}){1,2}\b"
)

Rows = Mapping[int, Mapping[str, str]]  # row number -> cells


class SubmissionError(ValueError):
    """Everything wrong with the files, in one message."""

    def __init__(self, problems: Sequence[checks.Problem]):
        self.faults = tuple(map(str, problems))
        head = f"{len(self.faults)} fault(s) in the files"
        super().__init__("\n".join([head, *checks.list_first(problems, bullet="- ")]))


class Faults:
    """Collects faults; JSON entries are counted from 1, rows as a spreadsheet does."""

    def __init__(self):
        self._problems = checks.Problems(error=SubmissionError)

    def add(self, table: Table, row: int | None, text: str) -> None:
        if isinstance(table, coco.Entries) and row is not None:
            self._problems.add(f"{table.name} entry {row}", None, text)
        else:
            self._problems.add(table.name, row, text)

    def stop(self) -> None:
        self._problems.raise_if_any()


@dataclasses.dataclass(frozen=True)
class Submission:
    """The truth of the images and what each system says of them."""

    image: np.ndarray  # str[n], names
    truth: readings.Truth
    split: np.ndarray  # str[n], "validation" or "test"; "" without such a column
    detections: list[list[np.ndarray]]  # per system: n of f64[k, 3] or f64[k, 5]
    scores: list[np.ndarray]  # per system: f64[n], of the images
    score_source: str  # words for the page
    left_out: tuple[str, ...]  # columns with dates or too many values
    # systems as (modality, reader), numbered from 0; () where nobody is told apart
    read_by: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()  # sentences for the page


@dataclasses.dataclass(frozen=True)
class Files:
    """Where a submission is read from."""

    images: Path | None  # None: the lesions file is COCO and names them
    lesions: Path
    detections: tuple[Path, ...]  # one per system
    category: str | None = None  # name of the one scored, where a COCO file has several
    reader: str | None = None  # column of the detections, where several readers read
    consensus: readers.Consensus | None = None  # of lesions that several readers drew


def read(files: Files) -> Submission:
    """Reads and checks all files.

    Raises:
        SubmissionError: every fault, with file and row.
        ValueError, FileNotFoundError: a file that is no table at all.
    """
    images, lesions, detections = _tables(files)
    faults = Faults()
    rows = usable_rows(images, faults)
    sizes = [size_of(images, n, rows[n], faults) for n in rows]
    size = np.reshape(sizes, (-1, 2))
    number_of = {cells["image"]: i for i, cells in enumerate(rows.values())}
    label = labels_of(rows)

    def lesions_of(table: Table, own: np.ndarray | None) -> list[np.ndarray]:
        return _places(table, number_of, size, faults, kind="lesion", label=own)

    notes: tuple[str, ...] = ()
    if files.consensus is None:
        if why := readers.undeclared(lesions):
            faults.add(lesions, None, why)
        marked = lesions_of(lesions, label)
    else:
        drawn = readers.split(lesions, files.consensus.column, faults.add)
        # what one reader drew on a negative image needs no second one to agree
        by_reader = [lesions_of(part, None) for part in drawn]
        faults.stop()
        marked = readers.agreed(by_reader, files.consensus)
        against = sum(len(m) > 0 and not y for m, y in zip(marked, label, strict=True))
        if against:
            text = f"{against} image(s) with label 0 have a lesion by consensus"
            faults.add(lesions, None, text)
        notes = (_consensus_note(by_reader, marked, files.consensus),)
    read_by: tuple[tuple[int, int], ...] = ()
    if files.reader is not None:
        detections, read_by = _by_reader(detections, files.reader, faults)
    systems = [
        _places(table, number_of, size, faults, kind="detection")
        for table in detections
    ]
    score = image_scores(
        images,
        rows,
        faults,
        systems=len(systems),
        with_readers=files.reader is not None,
    )
    split = splits_of(images, rows, faults)
    groups, left_out = groups_of(images, rows)
    faults.stop()
    has_lesion = np.array([len(places) > 0 for places in marked], bool)
    truth = readings.Truth(
        label=label,
        judged=~label | has_lesion,
        patient=np.array([patient_of(cells) for cells in rows.values()]),
        lesions=marked,
        groups=groups,
    )
    source = "the images table" if score else "its highest detection"
    return Submission(
        image=np.array(list(number_of)),
        truth=truth,
        split=split,
        detections=systems,
        scores=score or [highest(system) for system in systems],
        score_source=source,
        left_out=left_out,
        read_by=read_by,
        notes=notes,
    )


def _by_reader(
    tables: Sequence[Table], column: str, faults: Faults
) -> tuple[list[Table], tuple[tuple[int, int], ...]]:
    """A part for each modality and reader; all read all modalities."""
    parts = [readers.split(table, column, faults.add) for table in tables]
    if len({len(own) for own in parts}) > 1:
        text = f"{column} has {len(parts[-1])} readers, the first file {len(parts[0])}"
        faults.add(tables[-1], None, f"{text}: each must read each modality")
    named = [
        {cells[own] for _, cells in table.numbered()}
        for table in tables
        if (own := readers.column_of(table, column)) is not None
    ]
    if len(named) > 1 and named[0] != named[1] and len(named[0]) == len(named[1]):
        faults.add(tables[-1], None, f"{column} names other readers than the first")
    read_by = [(i, j) for i, own in enumerate(parts) for j in range(len(own))]
    return [part for own in parts for part in own], tuple(read_by)


def _consensus_note(
    by_reader: Sequence[Sequence[np.ndarray]],
    marked: Sequence[np.ndarray],
    rule: readers.Consensus,
) -> str:
    drawn = sum(len(boxes) for own in by_reader for boxes in own)
    lost = sum(
        any(len(own[i]) for own in by_reader) and not len(boxes)
        for i, boxes in enumerate(marked)
    )
    lesions = sum(map(len, marked))
    return (
        f"{drawn} boxes of {len(by_reader)} readers are {lesions} lesions "
        f"that at least {rule.least} of them drew (overlap of {rule.iou:g} or more); "
        f"{lost} image(s) with boxes keep none."
    )


def _tables(files: Files) -> tuple[Table, Table, list[Table]]:
    """Images, lesions and a table of detections for each system."""
    given = [files.images, files.lesions, *files.detections]
    missing = [path.name for path in given if path is not None and not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)}: no such file")
    is_coco = coco.is_coco(files.lesions)
    if not is_coco and files.images is None:
        raise ValueError("give --images; only COCO lesions name the images themselves")
    if is_coco:
        images, lesions = coco.read_truth(files.lesions, category=files.category)
    else:
        images, lesions = None, formats.read_table(files.lesions)
    if files.images is not None:
        images = formats.read_table(files.images)
    assert images is not None
    truth = files.lesions if is_coco else None
    detections = [
        coco.read_results(path, truth=truth, category=files.category)
        if coco.is_coco(path)
        else formats.read_table(path)
        for path in files.detections
    ]
    return images, lesions, detections


def labels_of(rows: Rows) -> np.ndarray:
    """bool[n]; a bad label counts as positive, it is a fault already."""
    return np.array([LABELS.get(c["label"].lower(), True) for c in rows.values()], bool)


def usable_rows(table: Table, faults: Faults) -> dict[int, Mapping[str, str]]:
    """Row number -> cells, of the rows with a name and a label."""
    missing = [name for name in ("image", "label") if name not in table.columns]
    if missing:
        have = table.name_columns(RESERVED)
        faults.add(table, None, f"no column {', '.join(missing)}; it has {have}")
        faults.stop()
    rows: dict[int, Mapping[str, str]] = {}
    first: dict[str, int] = {}
    for number, cells in table.numbered():
        name = cells["image"]
        if not name:
            faults.add(table, number, "image is empty")
        elif name in first:
            faults.add(table, number, f"the image of row {first[name]} again")
        else:
            first[name] = number
            rows[number] = cells
        if cells["label"].lower() not in LABELS:
            faults.add(table, number, "label must be 0 or 1")
    if not rows:
        faults.add(table, None, "has no usable row")
    if {"patient", "patient_id"} <= set(table.columns):
        faults.add(table, None, "has both patient and patient_id: keep one")
    return rows


def patient_of(cells: Mapping[str, str]) -> str:
    """Without a patient each image is one of its own."""
    return cells.get("patient") or cells.get("patient_id") or cells["image"]


def groups_of(
    table: Table, rows: Rows
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns to report by group, and those that can't be.

    A column of identifiers or dates must never be printed value by value: dates and
    many values leave the column out, and a value of one patient alone is `other`.
    """
    patients = [patient_of(cells) for cells in rows.values()]
    groups, left_out = {}, []
    most = min(MOST_GROUPS, max(3, len(rows) / 2))
    for name in table.columns:
        if name in RESERVED:
            continue
        values = [cells[name] for cells in rows.values()]
        if len(set(values)) > most or any(map(_DATE.search, values)):
            left_out.append(name)
            continue
        pairs = set(zip(values, patients, strict=True))
        held = collections.Counter(value for value, _ in pairs)
        safe = [v if held[v] > 1 or not v else OTHER for v in values]
        groups[name] = np.array(safe)
    return groups, tuple(left_out)


def as_number(cell: str) -> float:
    """nan for what is no number."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def size_of(
    table: Table, number: int, cells: Mapping[str, str], faults: Faults
) -> tuple[float, float]:
    """(width, height) in pixels; infinite where it is not stated."""
    stated = [cells.get(name, "") for name in ("width", "height")]
    if not any(stated):
        return math.inf, math.inf
    width, height = map(as_number, stated)
    if not (width > 0 and height > 0):
        faults.add(table, number, "width and height must both be pixels, or empty")
    return width, height


def image_scores(
    table: Table,
    rows: Rows,
    faults: Faults,
    *,
    systems: int,
    with_readers: bool = False,
) -> list[np.ndarray]:
    """The image scores of each system; none where there are no such columns."""
    wanted = ("score", "score_b")[:systems]
    there = [name for name in wanted if name in table.columns]
    if there and with_readers:
        text = f"has {there[0]}, which can't say whose reading it is: take it out"
        faults.add(table, None, text)
        return []
    if there and len(there) < systems:
        text = f"has {there[0]} and not {' and '.join(set(wanted) - set(there))}"
        faults.add(table, None, f"{text}: give each system its image scores, or none")
    scores = []
    for name in there:
        values = {row: as_number(cells[name]) for row, cells in rows.items()}
        for row, value in values.items():
            if not math.isfinite(value):
                faults.add(table, row, f"{name} must be a finite number")
        scores.append(np.array(list(values.values())))
    return scores


def splits_of(table: Table, rows: Rows, faults: Faults) -> np.ndarray:
    splits = [cells.get("split", "") for cells in rows.values()]
    if any(splits):
        for number, split in zip(rows, splits, strict=True):
            if split not in SPLITS:
                faults.add(table, number, f"split must be one of {', '.join(SPLITS)}")
        if "test" not in splits:
            faults.add(table, None, "no row is of the split test: nothing to measure")
    split_of: dict[str, str] = {}
    for (number, cells), split in zip(rows.items(), splits, strict=True):
        if split_of.setdefault(patient_of(cells), split) != split:
            faults.add(table, number, "its patient is in the other split, too")
    return np.array(splits, str)


def _places(
    table: Table,
    number_of: Mapping[str, int],
    size: np.ndarray,
    faults: Faults,
    *,
    kind: str,
    label: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Lesions f64[k, 4 or 2] or detections f64[k, 5 or 3] of each image."""
    where = _BOX if set(_BOX) <= set(table.columns) else _POINT
    fields = (*where, *(("score",) if kind == "detection" else ()))
    kept: dict[int, list[list[float]]] = collections.defaultdict(list)
    row_of: dict[tuple, int] = {}
    missing = [name for name in ("image", *fields) if name not in table.columns]
    if missing:
        have = table.name_columns({"image", "lesion", "score", *_BOX, *_POINT})
        text = f"no column {', '.join(missing)} (a box x0, y0, x1, y1 or a point x, y)"
        faults.add(table, None, f"{text}; it has {have}")
    for number, cells in table.numbered() if not missing else ():
        values = {name: as_number(cells[name]) for name in fields}
        named = cells.get("lesion") if kind == "lesion" else None
        key = (cells["image"], named or tuple(values.values()))
        image = number_of.get(cells["image"])
        if image is None:
            text = "its image is not in the images table"
        elif key in row_of:
            text = f"the {kind} of row {row_of[key]} again"
        elif label is not None and not label[image]:
            text = "a lesion on an image with label 0"
        else:
            text = _fault_of(values, size[image])
        if text:
            faults.add(table, number, text)
        else:
            row_of[key] = number
            kept[image or 0].append(list(values.values()))
    return [np.reshape(kept[i], (-1, len(fields))) for i in range(len(number_of))]


def _fault_of(values: Mapping[str, float], size: np.ndarray) -> str:
    """What is wrong with a point or a box; empty when nothing is."""
    if bad := [name for name, value in values.items() if not math.isfinite(value)]:
        return f"{', '.join(bad)} must be finite numbers"
    if "x0" in values:
        if not (values["x0"] < values["x1"] and values["y0"] < values["y1"]):
            return "a box without area: it needs x0 < x1 and y0 < y1"
        x = (values["x0"] + values["x1"]) / 2
        y = (values["y0"] + values["y1"]) / 2
    else:
        x, y = values["x"], values["y"]
    if np.isfinite(size).all() and not (0 <= x < size[0] and 0 <= y < size[1]):
        return "it lies outside the image: check the order and scale of coordinates"
    return ""


def highest(detections: Sequence[np.ndarray]) -> np.ndarray:
    """f64[n], the highest detection of each image.

    An image without detections is below all others: 0 where all scores are
    probabilities, else -inf.
    """
    scores = np.concatenate([np.empty(0), *(rows[:, -1] for rows in detections)])
    nothing = 0.0 if np.all((scores >= 0) & (scores <= 1)) else -np.inf
    return np.array([max(rows[:, -1], default=nothing) for rows in detections])
